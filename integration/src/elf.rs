//! The smallest programs: one system call, made by hand, without any library around it.
//!
//! A filter of system calls can only be tested by a program that makes exactly one call, of a chosen
//! architecture and number; no tool of Debian does that. elf(5), syscall(2). Only for x86 machines.

/// Where the one segment lies; above vm.mmap_min_addr.
const BASE: u32 = 0x1_0000;
/// Memory after the code, zeroed: stacks and variables.
const SPARE: u32 = 0x4000;

/// What the program does with the result of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exit status 0 after success, otherwise the errno.
    Errno,
    /// The low eight bits of the result.
    Result,
}

/// An x86-64 program: `syscall(number, arguments…)`, then exit.
#[must_use]
pub fn call64(number: u64, arguments: [u64; 3], exit: Exit) -> Vec<u8> {
    let mut code = Vec::new();
    // mov rax, …; mov rdi, …; mov rsi, …; mov rdx, …
    for (opcode, value) in [(0xb8, number), (0xbf, arguments[0]), (0xbe, arguments[1]), (0xba, arguments[2])]
    {
        code.extend([0x48, opcode]);
        code.extend(value.to_le_bytes());
    }
    code.extend([0x0f, 0x05]); // syscall
    if exit == Exit::Errno {
        code.extend([0xf7, 0xd8]); // neg eax
    }
    code.extend([0x89, 0xc7]); // mov edi, eax
    code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(edi)
    elf64(&code)
}

/// An i386 program: `int 0x80` with a number and arguments, then exit.
#[must_use]
pub fn call32(number: u32, arguments: [u32; 3], exit: Exit) -> Vec<u8> {
    let mut code = Vec::new();
    // mov eax, …; mov ebx, …; mov ecx, …; mov edx, …
    for (opcode, value) in [(0xb8, number), (0xbb, arguments[0]), (0xb9, arguments[1]), (0xba, arguments[2])]
    {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    }
    code.extend([0xcd, 0x80]); // int 0x80
    if exit == Exit::Errno {
        code.extend([0xf7, 0xd8]); // neg eax
    }
    code.extend([0x89, 0xc3]); // mov ebx, eax
    code.extend([0xb8, 1, 0, 0, 0, 0xcd, 0x80]); // exit(ebx)
    elf32(&code)
}

/// An x86-64 program with a second thread that makes one call without arguments; the first thread waits for
/// the end of the second, then exits with 42.
#[must_use]
pub fn call64_in_thread(number: u32) -> Vec<u8> {
    // The spare memory: the kernel's word about the thread's end first, then the thread's stack.
    let word = BASE + 0x1000;
    let stack = BASE + 0x3000;
    let flags: u32 = 0x0025_0f00; // CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|CHILD_CLEARTID
    let mut code = vec![0xc7, 0x04, 0x25]; // mov dword [word], 1
    code.extend(word.to_le_bytes());
    code.extend(1_u32.to_le_bytes());
    code.extend([0xb8, 56, 0, 0, 0]); // clone(flags, stack, -, word, -)
    code.push(0xbf);
    code.extend(flags.to_le_bytes());
    code.push(0xbe);
    code.extend(stack.to_le_bytes());
    code.extend([0x31, 0xd2]); // xor edx, edx
    code.extend([0x41, 0xba]); // mov r10d, word
    code.extend(word.to_le_bytes());
    code.extend([0x0f, 0x05]);
    let mut thread = vec![0xb8]; // mov eax, number
    thread.extend(number.to_le_bytes());
    thread.extend([0x0f, 0x05]);
    thread.extend([0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(0), of the thread alone
    code.extend([0x85, 0xc0, 0x75]); // test eax, eax; jnz past the thread
    code.push(u8::try_from(thread.len()).expect("short"));
    code.extend(thread);
    let wait = code.len();
    code.extend([0xb8, 24, 0, 0, 0, 0x0f, 0x05]); // sched_yield()
    code.extend([0x83, 0x3c, 0x25]); // cmp dword [word], 0
    code.extend(word.to_le_bytes());
    code.push(0);
    let back = i8::try_from(code.len() + 2 - wait).expect("short");
    code.extend([0x75, (-back).cast_unsigned()]); // jnz wait
    code.extend([0xbf, 42, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05]); // exit_group(42)
    elf64(&code)
}

/// An x86-64 program that for ever makes a child by vfork(2), which sleeps for `inside_ms` (less than a second)
/// before it ends, and then sleeps itself for `outside_ms`.
#[must_use]
pub fn vforking64(inside_ms: u32, outside_ms: u32) -> Vec<u8> {
    // The two struct timespec: the first in the spare memory, filled before the loop.
    let times = [(BASE + 0x1000, inside_ms), (BASE + 0x1010, outside_ms)];
    let mut code = Vec::new();
    for (at, ms) in times {
        code.extend([0xc7, 0x04, 0x25]); // mov dword [at + 8], nanoseconds; the seconds are 0
        code.extend((at + 8).to_le_bytes());
        code.extend((ms * 1_000_000).to_le_bytes());
    }
    let sleep = |at: u32| {
        let mut code = vec![0xb8, 35, 0, 0, 0, 0xbf]; // nanosleep(at, NULL)
        code.extend(at.to_le_bytes());
        code.extend([0x31, 0xf6, 0x0f, 0x05]);
        code
    };
    let again = code.len();
    code.extend([0xb8, 58, 0, 0, 0, 0x0f, 0x05]); // vfork()
    let mut child = sleep(times[0].0);
    child.extend([0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    code.extend([0x85, 0xc0, 0x75]); // test eax, eax; jnz past the child
    code.push(u8::try_from(child.len()).expect("short"));
    code.extend(child);
    code.extend([0xbf, 0xff, 0xff, 0xff, 0xff, 0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2]);
    code.extend([0xb8, 61, 0, 0, 0, 0x0f, 0x05]); // wait4(-1, NULL, 0, NULL)
    code.extend(sleep(times[1].0));
    let back = i8::try_from(code.len() + 2 - again).expect("short");
    code.extend([0xeb, (-back).cast_unsigned()]); // jmp again
    elf64(&code)
}

/// Program headers and code in one segment that may be read, written and executed.
fn elf64(code: &[u8]) -> Vec<u8> {
    let headers = 64 + 56;
    let length = u64::from(headers) + code.len() as u64;
    let mut file = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64
    file.extend(u64::from(BASE + headers).to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend([0; 12]); // no sections, no flags
    file.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 7, 0, 0, 0]); // load, rwx
    file.extend(0_u64.to_le_bytes());
    for _ in 0..2 {
        file.extend(u64::from(BASE).to_le_bytes());
    }
    file.extend(length.to_le_bytes());
    file.extend((length + u64::from(SPARE)).to_le_bytes());
    file.extend(0x1000_u64.to_le_bytes());
    file.extend(code);
    file
}

fn elf32(code: &[u8]) -> Vec<u8> {
    let headers = 52 + 32;
    let length = headers + u32::try_from(code.len()).expect("short");
    let mut file = Vec::from(*b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([2, 0, 3, 0, 1, 0, 0, 0]); // executable, i386
    file.extend((BASE + headers).to_le_bytes());
    file.extend(52_u32.to_le_bytes());
    file.extend([0; 8]); // no sections, no flags
    file.extend([52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for value in [1, 0, BASE, BASE, length, length + SPARE, 7, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use crate::{Call, Scratch};

    fn status_of(program: &[u8]) -> i32 {
        let scratch = Scratch::new();
        let path = scratch.path().join("program");
        std::fs::write(&path, program).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Through a shell: another test's fork may hold the file open for writing for a moment (ETXTBSY).
        crate::wait_for("a program that can be run", || {
            let output = Call::of("sh").args(["-c", "\"$0\""]).args([&path]).output();
            (output.code() != 126).then(|| output.code())
        })
    }

    #[test]
    fn one_call_is_made_and_its_result_seen() {
        let bad_descriptor = 9; // EBADF
        assert_eq!(status_of(&call64(3, [999, 0, 0], Exit::Errno)), bad_descriptor);
        // The result of umask(2) is the mask of before: the low bits of whatever the tests run with.
        let before = status_of(&call64(95, [0, 0, 0], Exit::Result));
        assert_eq!(before & !0o777, 0);
    }

    #[test]
    fn the_second_thread_ends_before_the_first() {
        assert_eq!(status_of(&call64_in_thread(39)), 42);
    }

    #[test]
    fn one_32_bit_call_is_made() {
        let status = status_of(&call32(6, [999, 0, 0], Exit::Errno));
        if status == 126 || status > 128 {
            crate::skip!("this kernel runs no 32-bit programs");
        }
        assert_eq!(status, 9);
    }
}
