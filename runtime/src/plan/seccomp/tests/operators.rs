//! Every operator around the edges of words, on 64-bit and 32-bit ABIs and both byte orders.

use super::*;

const EDGES: [u64; 12] = [
    0,
    1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];

fn expected(op: &str, given: u64, value: u64, two: u64) -> bool {
    match op {
        "EQ" => given == value,
        "NE" => given != value,
        "LT" => given < value,
        "LE" => given <= value,
        "GT" => given > value,
        "GE" => given >= value,
        _ => given & value == two & value,
    }
}

/// Checks one operator with all values on all edges, at a width.
fn check(native: &str, number: u32, width: u64) {
    for op in ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"] {
        for value in EDGES {
            for two in if op == "MASKED_EQ" { &EDGES[..] } else { &EDGES[..1] } {
                let condition = SyscallArg { value_two: *two, ..arg(5, op, value) };
                let seccomp =
                    profile("SCMP_ACT_ALLOW", vec![when(&["mount"], "SCMP_ACT_ERRNO", &[condition])]);
                let filter = compile_for(&seccomp, arch(native)).unwrap();
                bpf::check(&filter.program);
                for given in EDGES {
                    // The other arguments would say otherwise.
                    let args = [!given, !given, !given, !given, !given, given];
                    let call = bpf::Call { arch: arch(native).audit, number, args };
                    let answer = bpf::run(&filter.program, &call, arch(native).big_endian).0;
                    let holds = expected(op, given & width, value & width, two & width);
                    let expected = if holds { EPERM } else { ALLOW };
                    assert_eq!(answer, expected, "{native}: {given:#x} {op} {value:#x} {two:#x}");
                }
            }
        }
    }
}

#[test]
fn with_64_bits() {
    check("X86_64", 165, u64::MAX);
}

#[test]
fn with_64_bits_of_the_other_byte_order() {
    check("S390X", 21, u64::MAX);
}

#[test]
fn with_32_bits() {
    check("X86", 21, 0xffff_ffff);
}

#[test]
fn with_32_bits_of_the_other_byte_order() {
    check("PPC", 21, 0xffff_ffff);
}

#[test]
fn x32_counts_as_32_bits() {
    check("X32", 0x4000_0000 + 165, 0xffff_ffff);
}

#[test]
fn conditions_on_several_arguments_must_all_hold() {
    let rule = when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 1), arg(3, "GT", 7)]);
    let seccomp = profile("SCMP_ACT_ALLOW", vec![rule]);
    let mount = |zero, three| answer(&seccomp, "X86_64", "X86_64", 165, [zero, 0, 0, three, 0, 0]);
    assert_eq!([mount(1, 8), mount(1, 7), mount(2, 8), mount(2, 7)], [EPERM, ALLOW, ALLOW, ALLOW]);
}

#[test]
fn two_conditions_on_one_argument_are_alternatives_and_so_are_the_others_of_the_rule() {
    let args = [arg(0, "EQ", 1), arg(0, "EQ", 2), arg(3, "EQ", 9)];
    let seccomp = profile("SCMP_ACT_ALLOW", vec![when(&["mount"], "SCMP_ACT_ERRNO", &args)]);
    let mount = |zero, three| answer(&seccomp, "X86_64", "X86_64", 165, [zero, 0, 0, three, 0, 0]);
    assert_eq!([mount(1, 0), mount(2, 0), mount(3, 0), mount(3, 9)], [EPERM, EPERM, ALLOW, EPERM]);
}
