//! Classic BPF as the kernel runs it on `struct seccomp_data` (Documentation/networking/filter.rst).

use seccompiler::sock_filter;

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32, big_endian: bool) -> u32 {
        assert_eq!(offset % 4, 0, "unaligned load");
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 => {
                let arg = self.args[(offset as usize - 16) / 8];
                let first = offset.is_multiple_of(8);
                if first == big_endian { (arg >> 32) as u32 } else { (arg & 0xffff_ffff) as u32 }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// What the program returns, and after how many instructions.
pub fn run(program: &[sock_filter], call: &Call, big_endian: bool) -> (u32, usize) {
    let mut accumulator = 0u32;
    let mut position = 0usize;
    let mut steps = 0;
    loop {
        let one = &program[position];
        let (k, branch) = (one.k, |holds: bool| if holds { one.jt as usize } else { one.jf as usize });
        steps += 1;
        position += 1;
        match one.code {
            0x20 => accumulator = call.word(k, big_endian),
            0x54 => accumulator &= k,
            0x05 => position += k as usize,
            0x15 => position += branch(accumulator == k),
            0x25 => position += branch(accumulator > k),
            0x35 => position += branch(accumulator >= k),
            0x45 => position += branch(accumulator & k != 0),
            0x06 => return (k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// What the kernel's checker asks for: known instructions, jumps inside, a return at the end.
pub fn check(program: &[sock_filter]) {
    assert!((1..=4096).contains(&program.len()));
    assert_eq!(program.last().unwrap().code, 0x06);
    for (position, one) in program.iter().enumerate() {
        let furthest = match one.code {
            0x05 => one.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => one.jt.max(one.jf) as usize,
            0x20 | 0x54 | 0x06 => 0,
            code => panic!("instruction {code:#x}"),
        };
        assert!(position + furthest < program.len(), "jump out of the program");
    }
}
