//! What a filter costs: printed by `cargo test --release -- --ignored --nocapture seccomp::tests::cost`.

use std::thread;
use std::time::{Duration, Instant};

use seccompiler::sock_filter;

use super::*;

/// Median of `rounds`.
fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..rounds).map(|_| round()).collect();
    times.sort_unstable();
    times[rounds / 2]
}

/// A comparison for each call, one after the other, as a simple compiler writes it; without conditions.
fn naive(seccomp: &Seccomp) -> Vec<sock_filter> {
    let one = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut program = Vec::new();
    for name in ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] {
        let audit = Arch::find(name).unwrap().audit;
        let names = seccomp.syscalls.iter().flat_map(|rule| &rule.names);
        let numbers: Vec<u32> = names.filter_map(|call| plain::number(name, call)).collect();
        let skip = 2 * numbers.len() as u32 + 2;
        program.extend([
            one(0x20, 0, 0, 4),
            one(0x15, 1, 0, audit),
            one(0x05, 0, 0, skip),
            one(0x20, 0, 0, 0),
        ]);
        program.extend(numbers.into_iter().flat_map(|k| [one(0x15, 0, 1, k), one(0x06, 0, 0, ALLOW)]));
        program.push(one(0x06, 0, 0, EPERM));
    }
    program.push(one(0x06, 0, 0, KILL));
    program
}

fn time_to_load(program: Vec<libc::sock_filter>) -> Duration {
    median(15, || {
        let program = program.clone();
        thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let start = Instant::now();
            sys::seccomp::load(&program, sys::seccomp::FLAG_SPEC_ALLOW).unwrap();
            start.elapsed()
        })
        .join()
        .unwrap()
    })
}

#[test]
#[ignore = "prints figures"]
fn docker_profile() {
    let seccomp = docker();
    let filter = compile(&seccomp).unwrap();
    let naive = Filter { program: naive(&seccomp), ..filter.clone() };
    let start = Instant::now();
    compile(&seccomp).unwrap();
    println!("instructions: {}, naive {}", filter.program.len(), naive.program.len());
    println!("compile, second time: {:?}", start.elapsed());
    println!(
        "compile, median: {:?}",
        median(201, || {
            let start = Instant::now();
            compile(&seccomp).unwrap();
            start.elapsed()
        })
    );
    println!(
        "names, median: {:?}",
        median(201, || {
            let start = Instant::now();
            let found = seccomp
                .syscalls
                .iter()
                .flat_map(|rule| &rule.names)
                .filter_map(|name| calls::Name::find(name));
            assert!(found.count() > 300);
            start.elapsed()
        })
    );
    println!(
        "load, median: {:?}, naive {:?}",
        time_to_load(filter.instructions()),
        time_to_load(naive.instructions())
    );
}
