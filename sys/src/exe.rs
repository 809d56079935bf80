//! The program file that /proc/PID/exe shows, exchanged under the running program (prctl(2),
//! PR_SET_MM_MAP), and the sealed copy for where that is not permitted (memfd_create(2)).
//!
//! /proc/PID/exe is a door to the very file this program was started from: whoever opens it for writing
//! changes the program on the host (CVE-2019-5736). [`exchange`] moves the running image, without starting
//! it again, onto another open file of the same content, for instance one on a read-only mount.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::fd::adopt;
use crate::{Error, Result};

const PAGE: usize = 4096;
const NO_FD: u32 = u32::MAX;

/// `struct prctl_mm_map` of <linux/prctl.h>.
#[repr(C)]
#[derive(Debug, Default)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Whole pages of the program file in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    prot: i32,
    offset: i64,
}

/// Makes `file`, which must have the same content as the running program's, the file of this process:
/// every mapping of the old file is replaced and /proc/self/exe shows `file`.
///
/// Text and constants are mapped from `file`; what may have been written (data, relocated constants) is
/// copied into anonymous memory. The process must be single-threaded.
///
/// # Errors
/// EPERM without CAP_SYS_RESOURCE or CAP_CHECKPOINT_RESTORE in this user namespace, EINVAL where the kernel
/// lacks CONFIG_CHECKPOINT_RESTORE. The process goes on unharmed after any error.
pub fn exchange(file: BorrowedFd<'_>) -> Result<()> {
    let mut map = current_map()?;
    map.exe_fd = NO_FD;
    set_map(&map)?; // changes nothing: a permission that is missing shows before anything is touched
    let (base, headers) = program_headers();
    for mapping in mappings(base, headers) {
        if mapping.prot & libc::PROT_WRITE == 0 {
            remap(&mapping, file)?;
        } else {
            copy(&mapping)?;
        }
    }
    if let Some(relro) = relro(base, headers) {
        protect(&relro)?;
    }
    map.exe_fd = u32::try_from(file.as_raw_fd()).unwrap_or(NO_FD);
    // SAFETY: sbrk(0) only asks where the heap ends; it may have grown since the first look.
    map.brk = unsafe { libc::sbrk(0) } as u64;
    set_map(&map)
}

fn set_map(map: &MmMap) -> Result<()> {
    // SAFETY: the kernel reads one live struct of the size passed and checks every address in it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, std::ptr::from_ref(map), size_of::<MmMap>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(Error::last("prctl", "PR_SET_MM_MAP")) }
}

/// The memory layout as proc_pid_stat(5) has it, so that setting it changes nothing.
fn current_map() -> Result<MmMap> {
    let path = "/proc/self/stat";
    let mut text = [0_u8; 1024];
    let at = |error: std::io::Error| Error::from_io("read", format!("{path:?}"), &error);
    let length = File::open(path).and_then(|mut file| file.read(&mut text)).map_err(at)?;
    let text = String::from_utf8_lossy(&text[..length]);
    // The name in parentheses may hold anything; the fields after it are numbers, field 3 first.
    let fields: Vec<u64> = text
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    // SAFETY: sbrk(0) only asks where the heap ends.
    let brk = unsafe { libc::sbrk(0) } as u64;
    Ok(MmMap {
        start_code: field(26),
        end_code: field(27),
        start_stack: field(28),
        start_data: field(45),
        end_data: field(46),
        start_brk: field(47),
        brk,
        arg_start: field(48),
        arg_end: field(49),
        env_start: field(50),
        env_end: field(51),
        ..MmMap::default()
    })
}

/// The program's headers as they lie in memory, and what was added to all addresses in them.
fn program_headers() -> (usize, &'static [libc::Elf64_Phdr]) {
    // SAFETY: the auxiliary vector describes the program headers of this very process. They lie in its first
    // segment, which is read-only and stays mapped.
    let headers = unsafe {
        let address = libc::getauxval(libc::AT_PHDR) as *const libc::Elf64_Phdr;
        let count = usize::try_from(libc::getauxval(libc::AT_PHNUM)).unwrap_or(0);
        if address.is_null() { &[] } else { std::slice::from_raw_parts(address, count) }
    };
    // The load offset of a position-independent program: where its headers are minus where they say.
    let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
    let base = own.map_or(0, |header| headers.as_ptr() as usize - address(header.p_vaddr));
    (base, headers)
}

fn address(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn page_floor(address: usize) -> usize {
    address & !(PAGE - 1)
}

/// What the kernel has mapped of the program file: for each PT_LOAD segment the pages with bytes of the file
/// (elf(5)). What lies behind them, zeros for variables, never was the file's.
fn mappings(base: usize, headers: &[libc::Elf64_Phdr]) -> impl Iterator<Item = Mapping> {
    let loads = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_filesz > 0);
    loads.map(move |header| Mapping {
        start: page_floor(base + address(header.p_vaddr)),
        end: (base + address(header.p_vaddr + header.p_filesz)).next_multiple_of(PAGE),
        prot: [(libc::PF_R, libc::PROT_READ), (libc::PF_W, libc::PROT_WRITE), (libc::PF_X, libc::PROT_EXEC)]
            .iter()
            .filter(|(flag, _)| header.p_flags & flag != 0)
            .fold(0, |prot, (_, bit)| prot | bit),
        offset: i64::try_from(page_floor(address(header.p_offset))).unwrap_or(i64::MAX),
    })
}

/// The pages that the start-up code has made read-only once it had relocated them (PT_GNU_RELRO).
fn relro(base: usize, headers: &[libc::Elf64_Phdr]) -> Option<Mapping> {
    let header = headers.iter().find(|header| header.p_type == libc::PT_GNU_RELRO)?;
    let start = page_floor(base + address(header.p_vaddr));
    let end = page_floor(base + address(header.p_vaddr + header.p_memsz));
    (start < end).then_some(Mapping { start, end, prot: libc::PROT_READ, offset: 0 })
}

fn protect(mapping: &Mapping) -> Result<()> {
    let length = mapping.end - mapping.start;
    // SAFETY: takes rights away from pages that had lost them before they were exchanged.
    let result = unsafe { libc::mprotect(mapping.start as *mut libc::c_void, length, mapping.prot) };
    if result == 0 { Ok(()) } else { Err(Error::last("mprotect", "the program's constants")) }
}

/// Maps the same part of `file` over a mapping that was never written to.
fn remap(mapping: &Mapping, file: BorrowedFd<'_>) -> Result<()> {
    let length = mapping.end - mapping.start;
    // SAFETY: replaces a read-only private file mapping by one with the same bytes, protection and place in
    // one step, so that code running on it does not notice; the caller guarantees equal content.
    let result = unsafe {
        libc::mmap(
            mapping.start as *mut libc::c_void,
            length,
            mapping.prot,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            file.as_raw_fd(),
            mapping.offset,
        )
    };
    if result == libc::MAP_FAILED { Err(Error::last("mmap", "the program file")) } else { Ok(()) }
}

/// Replaces a mapping that may have been written to by an anonymous copy of itself, writable.
fn copy(mapping: &Mapping) -> Result<()> {
    let length = mapping.end - mapping.start;
    let fail = || Error::last("mremap", "the program's data");
    // SAFETY: the new memory is ours and as long as the old, which is readable. Nothing writes to the old
    // mapping between the copy and the exchange: there is one thread, and it is here, on its stack. The
    // exchange is one step, and leaves the same bytes at the same place.
    unsafe {
        let new = libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            // All pages are about to be written: had at once, they cost half of what each costs alone.
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
            -1,
            0,
        );
        if new == libc::MAP_FAILED {
            return Err(fail());
        }
        libc::memcpy(new, mapping.start as *const libc::c_void, length);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        if libc::mremap(new, length, length, flags, mapping.start as *mut libc::c_void) == libc::MAP_FAILED {
            return Err(fail());
        }
    }
    Ok(())
}

/// All seals that keep a file from ever changing (fcntl(2) "File Sealing").
const SEALS: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// An executable copy of a file that nobody can ever change (memfd_create(2), fcntl(2) F_ADD_SEALS).
///
/// # Errors
/// The failing call.
pub fn sealed_copy(name: &std::ffi::CStr, content: &mut File) -> Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated; the result is checked before it is owned.
    let create = |flags| unsafe { libc::memfd_create(name.as_ptr(), flags) };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let mut fd: RawFd = create(flags | libc::MFD_EXEC);
    if fd < 0 {
        fd = create(flags); // before Linux 6.3
    }
    if fd < 0 {
        return Err(Error::last("memfd_create", ""));
    }
    let copy = adopt(fd);
    let mut file = File::from(copy);
    std::io::copy(content, &mut file).map_err(|error| Error::from_io("write", "memfd", &error))?;
    // SAFETY: takes a number; the descriptor is open.
    if unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, SEALS) } != 0 {
        return Err(Error::last("fcntl", "F_ADD_SEALS"));
    }
    Ok(file.into())
}

/// Whether a file carries all the seals of [`sealed_copy`].
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    // SAFETY: only asks.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SEALS == SEALS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the headers say is what the kernel says (proc_pid_maps(5)).
    #[test]
    fn the_mappings_are_those_of_the_program_file() {
        let inode =
            std::fs::metadata("/proc/self/exe").map(|file| std::os::unix::fs::MetadataExt::ino(&file));
        let inode = inode.unwrap().to_string();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let of_file = maps.lines().filter(|line| line.split_ascii_whitespace().nth(4) == Some(&inode));
        let pages = |(start, end): (usize, usize)| (start..end).step_by(PAGE);
        let shown: Vec<usize> = of_file
            .map(|line| {
                let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
                let number = |text| usize::from_str_radix(text, 16).unwrap();
                (number(start), number(end))
            })
            .flat_map(pages)
            .collect();
        let (base, headers) = program_headers();
        let mapped = mappings(base, headers).map(|mapping| (mapping.start, mapping.end));
        assert_eq!(mapped.flat_map(pages).collect::<Vec<_>>(), shown);
        let relro = relro(base, headers).unwrap();
        let line = format!("{:x}-{:x} r--p", relro.start, relro.end);
        assert!(maps.contains(&line), "{line} in {maps}");
    }

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let mut file = File::open("/proc/self/exe").unwrap();
        let copy = sealed_copy(c"test", &mut file).unwrap();
        assert!(is_sealed(std::os::fd::AsFd::as_fd(&copy)));
        let error = std::io::Write::write(&mut File::from(copy), b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(!is_sealed(std::os::fd::AsFd::as_fd(&file)));
    }
}
