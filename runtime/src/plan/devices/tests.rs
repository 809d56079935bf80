//! The generated programs, run by an interpreter, against a plain reading of the rules.

use super::*;

/// Runs a program on `struct bpf_cgroup_dev_ctx`; panics on what the generator never emits.
fn run(program: &[Instruction], context: [u32; 3]) -> u64 {
    let mut registers = [0_u64; 11];
    let mut position = 0;
    loop {
        let it = program[position];
        let (to, from) = (usize::from(it.to()), usize::from(it.from()));
        let immediate = i64::from(it.immediate).cast_unsigned();
        let (a, b) = (registers[to], registers[from]);
        registers[to] = match it.code {
            LOAD_W => {
                assert_eq!(it.from(), CONTEXT);
                u64::from(context[usize::try_from(it.offset).unwrap() / 4])
            }
            LOAD_CONSTANT => {
                position += 1;
                (immediate & 0xffff_ffff) | u64::from(program[position].immediate.cast_unsigned()) << 32
            }
            MOVE => immediate,
            MOVE_REG => b,
            MOVE_REG_W => b & 0xffff_ffff,
            ADD => a.wrapping_add(immediate),
            AND => a & immediate,
            AND_W => a & immediate & 0xffff_ffff,
            AND_REG => a & b,
            OR => a | immediate,
            OR_REG => a | b,
            XOR => a ^ immediate,
            XOR_REG => a ^ b,
            SHIFT_LEFT => a << immediate,
            SHIFT_RIGHT => a >> immediate,
            SHIFT_RIGHT_SIGNED => (a.cast_signed() >> immediate).cast_unsigned(),
            EXIT => return registers[0],
            other => panic!("operation {other:#x}"),
        };
        position += 1;
    }
}

/// The rules read one after the other, as the specification words them.
fn allowed(rules: &[DeviceRule], block: bool, major: i64, minor: i64, access: &str) -> bool {
    let defaults = [
        ("a", None, None, "m"),
        ("c", Some(1), Some(3), "rwm"),
        ("c", Some(1), Some(5), "rwm"),
        ("c", Some(1), Some(7), "rwm"),
        ("c", Some(1), Some(8), "rwm"),
        ("c", Some(1), Some(9), "rwm"),
        ("c", Some(5), Some(0), "rwm"),
        ("c", Some(5), Some(2), "rwm"),
        ("c", Some(136), None, "rwm"),
    ]
    .map(|(kind, major, minor, access)| rule(true, kind, major, minor, access));
    access.chars().all(|letter| {
        let mut answer = false;
        for rule in rules.iter().chain(&defaults) {
            let kind = matches!(rule.kind.as_str(), "" | "a") || (rule.kind == "b") == block;
            let fits = |wanted: Option<i64>, number| wanted.is_none_or(|it| it == -1 || it == number);
            let named = rule.access.is_empty() || rule.access.contains(letter);
            if kind && fits(rule.major, major) && fits(rule.minor, minor) && named {
                answer = rule.allow;
            }
        }
        answer
    })
}

fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.into(), major, minor, access: access.into() }
}

/// What the program answers, `None` being a program that allows all.
fn asked(program: Option<&[Instruction]>, block: bool, major: u32, minor: u32, access: &str) -> bool {
    let Some(program) = program else { return true };
    let bits: u32 = access
        .chars()
        .map(|c| match c {
            'm' => 1,
            'r' => 2,
            _ => 4,
        })
        .sum();
    match run(program, [bits << 16 | if block { 1 } else { 2 }, major, minor]) {
        0 => false,
        1 => true,
        other => panic!("answer {other}"),
    }
}

/// xorshift64, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const MAJORS: [i64; 9] = [0, 1, 2, 5, 136, 2047, 2048, 4094, 4095];
const MINORS: [i64; 9] = [0, 2, 3, 5, 7, 4096, 0x7_ffff, 0xf_fffe, 0xf_ffff];
const ACCESSES: [&str; 8] = ["", "r", "w", "m", "rw", "rm", "wm", "rwm"];

fn random_rules(random: &mut Random) -> Vec<DeviceRule> {
    let number = |random: &mut Random, from: &[i64]| match random.below(4) {
        0 => None,
        1 => Some(-1),
        _ => Some(random.pick(from)),
    };
    (0..random.below(12))
        .map(|_| {
            let major = number(random, &MAJORS);
            let minor = number(random, &MINORS);
            rule(
                random.below(2) == 0,
                random.pick(&["", "a", "b", "c"]),
                major,
                minor,
                random.pick(&ACCESSES),
            )
        })
        .collect()
}

#[test]
fn random_lists_mean_what_they_say() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut yes, mut no, mut without) = (0, 0, 0);
    for _ in 0..2000 {
        let rules = random_rules(&mut random);
        let program = program(&rules).unwrap();
        without += u32::from(program.is_none());
        for _ in 0..100 {
            let (block, major, minor) = (random.below(2) == 0, random.pick(&MAJORS), random.pick(&MINORS));
            let access = random.pick(&ACCESSES[1..]);
            let wanted = allowed(&rules, block, major, minor, access);
            let (small_major, small_minor) = (u32::try_from(major).unwrap(), u32::try_from(minor).unwrap());
            let answer = asked(program.as_deref(), block, small_major, small_minor, access);
            assert_eq!(answer, wanted, "{rules:?}: block {block} {major}:{minor} {access}");
            if wanted { yes += 1 } else { no += 1 }
        }
    }
    // The lists are neither all open nor all closed.
    assert!(yes > 20_000 && no > 20_000 && without > 20, "{yes} {no} {without}");
}

#[test]
fn random_programs_pass_the_verifier() {
    let mut random = Random(42);
    for _ in 0..200 {
        if let Some(program) = program(&random_rules(&mut random)).unwrap() {
            sys::bpf::load_cgroup_device(&program).unwrap();
        }
    }
}

#[test]
fn the_default_devices_are_there_without_rules() {
    let program = program(&[]).unwrap();
    let cases = [
        (false, 1, 3, "rwm", true),
        (false, 1, 5, "rw", true),
        (false, 1, 7, "w", true),
        (false, 1, 8, "r", true),
        (false, 1, 9, "r", true),
        (false, 5, 0, "rw", true),
        (false, 5, 2, "rw", true),
        (false, 136, 0, "rwm", true),
        (false, 136, 1_048_575, "rw", true),
        (false, 1, 1, "r", false),    // mem
        (false, 1, 11, "r", false),   // kmsg
        (false, 5, 1, "rw", false),   // console
        (false, 10, 200, "r", false), // tun
        (true, 1, 3, "r", false),
        (true, 8, 0, "r", false),
        (true, 8, 0, "m", true),
        (false, 10, 200, "m", true),
        (true, 8, 0, "rm", false),
    ];
    for (block, major, minor, access, wanted) in cases {
        assert_eq!(
            asked(program.as_deref(), block, major, minor, access),
            wanted,
            "{major}:{minor} {access}"
        );
    }
}

#[test]
fn a_program_is_only_made_where_something_is_denied() {
    assert_eq!(program(&[rule(true, "a", None, None, "rwm")]).unwrap(), None);
    assert_eq!(
        program(&[rule(false, "", None, None, ""), rule(true, "a", Some(-1), Some(-1), "")]).unwrap(),
        None
    );
    // Made of parts: reading and writing, with what the defaults add.
    assert_eq!(program(&[rule(true, "a", None, None, "rw")]).unwrap(), None);
    for denying in [rule(false, "c", Some(10), None, "r"), rule(false, "a", None, None, "rwm")] {
        assert!(program(&[rule(true, "a", None, None, "rwm"), denying]).unwrap().is_some());
    }
}

#[test]
fn what_is_overridden_costs_nothing() {
    let plain = program(&[]).unwrap().unwrap();
    // Docker's list: deny all, then the defaults again.
    let mut docker = vec![rule(false, "", None, None, "rwm")];
    docker.extend([3, 5, 7, 8, 9].map(|minor| rule(true, "c", Some(1), Some(minor), "rwm")));
    let docker = program(&docker).unwrap().unwrap();
    assert_eq!((plain.len(), docker.len()), (51, 51));
}

#[test]
fn wrong_rules_name_their_field() {
    let cases = [
        (rule(true, "u", None, None, "r"), "[1].type: \"u\" is none of \"a\", \"b\", \"c\""),
        (rule(true, "c", None, None, "rx"), "[1].access: 'x' is none of 'r', 'w', 'm'"),
        (rule(true, "c", Some(-2), None, "r"), "[1].major: -2 is not between 0 and 4095, nor -1 for all"),
        (rule(true, "c", Some(4096), None, "r"), "[1].major: 4096 is not between 0 and 4095, nor -1 for all"),
        (
            rule(true, "c", None, Some(1 << 20), "r"),
            "[1].minor: 1048576 is not between 0 and 1048575, nor -1 for all",
        ),
        (
            rule(true, "c", None, Some(i64::MAX), "r"),
            "[1].minor: 9223372036854775807 is not between 0 and 1048575, nor -1 for all",
        ),
    ];
    for (wrong, message) in cases {
        let error = program(&[rule(false, "", None, None, ""), wrong]).unwrap_err();
        assert_eq!(error.to_string(), format!("linux.resources.devices{message}"));
        assert_eq!(error.kind(), Kind::Spec);
    }
}
