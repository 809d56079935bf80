//! Docker's default profile (integration/data/README.md says where it is from) with real programs: what
//! people run works, what the profile is for does not.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting
#![cfg(target_arch = "x86_64")]

use integration::elf::{Exit, call32, call64};
use integration::{Bundle, Value, json, known_gap};

const PROFILE: &str = include_str!("../data/seccomp-docker.json");

/// What Docker gives a container that nobody has asked for more.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn docker(no_new_privileges: bool) -> Bundle {
    let profile: Value = serde_json::from_str(PROFILE).unwrap();
    Bundle::new()
        .set("/linux/seccomp", profile)
        .set("/process/noNewPrivileges", json!(no_new_privileges))
        .capabilities(&CAPABILITIES)
}

fn both(test: impl Fn(&dyn Fn() -> Bundle)) {
    for no_new_privileges in [true, false] {
        test(&|| docker(no_new_privileges));
    }
}

#[test]
fn applets_of_busybox_work() {
    both(|docker| {
        let script = "set -e; cd /tmp; echo b >f; echo a >>f; sort f | tr '\\n' ' '; cp f g; mv g h; ln -s h l; \
            tar cf t.tar f h l; rm f h l; tar xf t.tar; ls | tr '\\n' ' '; find . -type l; dd if=/dev/zero bs=1k \
            count=4 2>/dev/null | wc -c; sleep 0.01; chown 5:6 f; stat -c '%u %g' f; mknod n c 1 3; \
            ps -o comm | grep -cx ps; date >/dev/null; id -u; renice -n 5 -p $$ >/dev/null; mkfifo p; (echo x >p &); cat p; sync; \
            chroot / true; kill -0 $$; ( trap 'echo usr' USR1; sh -c 'kill -USR1 $PPID'; true ); echo end";
        let seen = docker().in_container(script);
        assert_eq!(seen, "a b f h l t.tar ./l\n4096\n5 6\n1\n0\nx\nusr\nend", "{seen}");
    });
}

#[test]
fn programs_of_the_host_work() {
    both(|docker| {
        let script = "set -e; /usr/bin/perl -e 'my $p = fork; exit 3 unless $p; waitpid $p, 0; print $? >> 8, \"\\n\"'; \
            /usr/bin/bash -c 'for i in 1 2 3; do echo $i; done | /usr/bin/sort -rn | /usr/bin/head -1'; \
            /usr/bin/find /usr/bin/env; /usr/bin/sha256sum /dev/null | /usr/bin/cut -c1-8; \
            echo data | /usr/bin/gzip | /usr/bin/gzip -d; /usr/bin/stat -c %F /tmp; \
            /usr/bin/env -i A=b /usr/bin/printenv A; /usr/bin/timeout 5 /usr/bin/true; \
            /usr/bin/mawk 'BEGIN { print 6 * 7 }'; /usr/bin/nproc >/dev/null; /usr/bin/mktemp >/dev/null";
        let seen = docker().host_programs().in_container(script);
        assert_eq!(seen, "3\n3\n/usr/bin/env\ne3b0c442\ndata\ndirectory\nb\n42", "{seen}");
    });
}

#[test]
fn sockets_and_threads_of_the_host_programs_work() {
    both(|docker| {
        let script = r#"use IO::Socket::INET;
            my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die "listen: $!";
            if (!fork) { my $c = IO::Socket::INET->new("127.0.0.1:" . $s->sockport) or die; print $c "hi"; exit }
            my $a = $s->accept or die "accept: $!"; print <$a>, "\n";
            socketpair(my $x, my $y, 1, 1, 0) or die "socketpair: $!";
            socket(my $u, 1, 2, 0) or die "unix: $!"; socket(my $v, 40, 1, 0) and die "vsock"; print $! + 0, "\n""#;
        let output = docker().host_programs().args(&["/usr/bin/perl", "-e", script]).run();
        output.expect_ok().expect_stdout("hi\n1\n");
    });
}

/// The errno of a call under the profile, with the capability to do it, so that only the filter refuses.
fn errno_of(docker: &dyn Fn() -> Bundle, number: u64, arguments: [u64; 3]) -> i32 {
    let program = call64(number, arguments, Exit::Errno);
    let bundle =
        docker().capabilities(&["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_SYS_TIME"]);
    bundle.file("/opt/call", 0o755, &program).args(&["/opt/call"]).run().code()
}

#[test]
fn what_the_profile_is_for_is_refused() {
    both(|docker| {
        // Bad arguments: where the kernel answered, it would be EFAULT, EINVAL or EBADF.
        for (name, number) in [
            ("keyctl", 250),
            ("add_key", 248),
            ("request_key", 249),
            ("init_module", 175),
            ("delete_module", 176),
            ("kexec_load", 246),
            ("mount", 165),
            ("umount2", 166),
            ("pivot_root", 155),
            ("swapon", 167),
            ("reboot", 169),
            ("settimeofday", 164),
            ("acct", 163),
            ("setns", 308),
            ("bpf", 321),
            ("perf_event_open", 298),
            ("userfaultfd", 323),
            ("open_by_handle_at", 304),
            ("iopl", 172),
            ("io_uring_setup", 425),
            ("move_pages", 279),
        ] {
            assert_eq!(errno_of(docker, number, [u64::MAX, 1, 1]), 1, "{name}");
        }
        // unshare(CLONE_NEWUSER).
        assert_eq!(errno_of(docker, 272, [0x1000_0000, 0, 0]), 1);
        // clone3 has its flags in memory: it does not exist, so that C libraries take clone.
        assert_eq!(errno_of(docker, 435, [0, 0, 0]), 38);
        // clone(CLONE_NEWUSER): by the flags.
        assert_eq!(errno_of(docker, 56, [0x1000_0000, 0, 0]), 1);
    });
}

#[test]
fn personalities_are_the_listed_ones() {
    both(|docker| {
        for (domain, status) in [(0x0, 0), (0x8, 0), (0x2_0000, 0), (0x2_0008, 0), (0x4_0000, 1), (0x1, 1)] {
            let program = call64(135, [domain, 0, 0], Exit::Errno);
            let bundle = docker().file("/opt/call", 0o755, &program).args(&["/opt/call"]);
            assert_eq!(bundle.run().code(), status, "{domain:#x}");
        }
        // Asking is setting to 0xffffffff; the result is the old one, 0.
        let program = call64(135, [0xffff_ffff, 0, 0], Exit::Errno);
        assert_eq!(docker().file("/opt/call", 0o755, &program).args(&["/opt/call"]).run().code(), 0);
    });
}

#[test]
fn calls_of_the_future_do_not_exist() {
    known_gap!(Crun, "1.8.1 refuses them as it does others");
    both(|docker| {
        for number in [600, 999, 0x3fff_ffff] {
            assert_eq!(errno_of(docker, number, [0; 3]), 38, "{number}");
        }
    });
}

#[test]
fn programs_of_32_bits_work_and_are_filtered() {
    both(|docker| {
        let run =
            |program: Vec<u8>| docker().file("/opt/call", 0o755, &program).args(&["/opt/call"]).run().code();
        let close = run(call32(6, [999, 0, 0], Exit::Errno));
        if close != 9 {
            integration::skip!("this kernel runs no 32-bit programs");
        }
        assert_eq!(run(call32(288, [0; 3], Exit::Errno)), 1, "keyctl");
        assert_eq!(run(call32(310, [0x1000_0000, 0, 0], Exit::Errno)), 1, "unshare");
        if integration::flavour() != integration::Flavour::Crun {
            assert_eq!(run(call32(999, [0; 3], Exit::Errno)), 38, "newer");
        }
    });
}

#[test]
fn a_user_without_rights_is_filtered_as_well() {
    both(|docker| {
        let bundle = docker().capabilities(&[]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(bundle.in_container("id -u; grep Seccomp: /proc/self/status"), "1000\nSeccomp:\t2");
    });
}
