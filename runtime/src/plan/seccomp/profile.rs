//! `linux.seccomp` read and judged: names become values, and what cannot be meant is an error.

use super::arch::Arch;
use super::calls::Name;
use super::conditions::{Condition, OPERATORS, Operator};
use super::{FLAGS, Notify};
use crate::error::{Error, Kind, Result};
use crate::spec::{Seccomp, Syscall, SyscallArg};

/// What a filter returns (seccomp(2) `SECCOMP_RET_…`), with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub u32);

impl Action {
    /// The thread dies of SIGSYS.
    pub const KILL_THREAD: Self = Self(libc::SECCOMP_RET_KILL_THREAD);
    /// The call does not exist.
    pub const ENOSYS: Self = Self(libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned());

    /// The action without its data.
    pub fn kind(self) -> u32 {
        self.0 & libc::SECCOMP_RET_ACTION_FULL
    }

    /// Whether the kernel would prefer this action to, or treat it like, `other` if two filters disagreed.
    pub fn is_as_strict_as(self, other: Self) -> bool {
        // The kernel compares them as signed numbers: SECCOMP_RET_KILL_PROCESS is the lowest.
        self.kind().cast_signed() <= other.kind().cast_signed()
    }

    /// Whether a call that the profile does not know is to be carried out: then it is no matter of ENOSYS.
    fn lets_through(self) -> bool {
        matches!(self.kind(), libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_TRACE)
    }
}

/// The actions by name, sorted.
pub const ACTIONS: &[(&str, u32)] = &[
    ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW),
    ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO),
    ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
    ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
    ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF),
    ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE),
    ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
];

/// The largest errno the kernel returns (`MAX_ERRNO`); it would cut larger ones down to it.
const LARGEST_ERRNO: u32 = 4095;

/// A profile whose every word is understood.
#[derive(Debug)]
pub struct Profile {
    /// Where no rule matches.
    pub default: Action,
    /// The native one first, each once.
    pub archs: Vec<&'static Arch>,
    /// In the order of the document.
    pub rules: Vec<Rule>,
    /// For seccomp(2).
    pub flags: u32,
    /// Where the descriptor of SCMP_ACT_NOTIFY goes.
    pub notify: Option<Notify>,
    /// What was understood but has no effect, or not all of it.
    pub warnings: Vec<String>,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Debug)]
pub struct Rule {
    /// The calls, those without a name on any architecture left out.
    pub calls: Vec<Name>,
    /// What is done.
    pub action: Action,
    /// Any of these lists of conditions, all of whose conditions hold; none at all means without condition.
    pub alternatives: Vec<Vec<Condition>>,
}

impl Profile {
    /// Reads the profile for a machine.
    ///
    /// # Errors
    /// Of [`Kind::Spec`], naming the field: unknown words, and combinations that cannot be meant.
    pub fn read(seccomp: &Seccomp, native: &'static Arch) -> Result<Self> {
        let mut warnings = Vec::new();
        let default = action("linux.seccomp.default", &seccomp.default_action, seccomp.default_errno_ret)?;
        if default.kind() == libc::SECCOMP_RET_USER_NOTIF {
            return Err(wrong("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default".into()));
        }
        let mut archs = vec![native];
        for (position, name) in seccomp.architectures.iter().enumerate() {
            let arch = find_arch(position, name)?;
            if !archs.iter().any(|known| known.name == arch.name) {
                archs.push(arch);
            }
        }
        let mut rules = Vec::with_capacity(seccomp.syscalls.len());
        for (position, rule) in seccomp.syscalls.iter().enumerate() {
            rules.push(Rule::read(position, rule, &archs, &mut warnings)?);
        }
        let first_notify = rules.iter().position(|rule| rule.action.kind() == libc::SECCOMP_RET_USER_NOTIF);
        let notify = read_notify(seccomp, first_notify)?;
        let flags = read_flags(seccomp.flags.as_deref(), notify.is_some())?;
        Ok(Self { default, archs, rules, flags, notify, warnings })
    }

    /// The action for a call newer than the profile.
    ///
    /// As in runc: a C library that tries a new call first falls back to an old one on ENOSYS only.
    pub fn newer(&self) -> Action {
        if self.default.lets_through() { self.default } else { Action::ENOSYS }
    }
}

impl Rule {
    fn read(position: usize, rule: &Syscall, archs: &[&Arch], warnings: &mut Vec<String>) -> Result<Self> {
        let field = || format!("linux.seccomp.syscalls[{position}]");
        let action = match action("", &rule.action, rule.errno_ret) {
            Ok(action) => action,
            // The field's name is put together for an error only.
            Err(_) => return Err(action_error(&format!("{}.", field()), &rule.action, rule.errno_ret)),
        };
        if rule.names.is_empty() {
            return Err(wrong(format!("{}.names: must name at least one system call", field())));
        }
        let mut calls = Vec::with_capacity(rule.names.len());
        for (name_position, name) in rule.names.iter().enumerate() {
            if name.is_empty() {
                return Err(wrong(format!("{}.names[{name_position}]: must not be empty", field())));
            }
            if name == "write" && action.kind() == libc::SECCOMP_RET_USER_NOTIF {
                return Err(wrong(format!(
                    "{}.names[{name_position}]: SCMP_ACT_NOTIFY cannot be used for write, which sends the listener away",
                    field()
                )));
            }
            match Name::find(name) {
                Some(call) => calls.push(call),
                None => warnings.push(format!(
                    "{}.names[{name_position}]: unknown system call {name:?} is ignored",
                    field()
                )),
            }
        }
        let mut conditions = Vec::with_capacity(rule.args.len());
        for (argument_position, argument) in rule.args.iter().enumerate() {
            let condition = read_condition(argument)
                .map_err(|what| wrong(format!("{}.args[{argument_position}].{what}", field())))?;
            if let Some(arch) = archs.iter().find(|arch| !arch.wide && condition.loses_meaning()) {
                warnings.push(format!(
                    "{}.args[{argument_position}].value: only the low 32 bits count on {}",
                    field(),
                    arch.name
                ));
            }
            conditions.push(condition);
        }
        Ok(Self { calls, action, alternatives: alternatives(conditions) })
    }
}

/// All conditions together, or each for itself where two are on the same argument: so runc has it, because
/// libseccomp's rules could hold one condition for each argument only.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let mut seen = 0u8;
    let mut repeated = false;
    for condition in &conditions {
        let bit = 1 << condition.argument;
        repeated |= seen & bit != 0;
        seen |= bit;
    }
    if repeated {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else if conditions.is_empty() {
        Vec::new()
    } else {
        vec![conditions]
    }
}

/// Reads a condition; the error begins with the name of the field.
fn read_condition(argument: &SyscallArg) -> std::result::Result<Condition, String> {
    let index = match u8::try_from(argument.index) {
        Ok(index @ 0..=5) => index,
        _ => return Err(format!("index: {} is above the last argument, 5", argument.index)),
    };
    let Some(&(_, operator)) = OPERATORS.iter().find(|(name, _)| *name == argument.op) else {
        return Err(format!("op: unknown operator {:?}", argument.op));
    };
    // SCMP_CMP_MASKED_EQ has its mask where the other operators have their value.
    let (value, mask) = match operator {
        Operator::MaskedEq => (argument.value_two, argument.value),
        _ => (argument.value, u64::MAX),
    };
    Ok(Condition { argument: index, operator, value, mask })
}

fn find_arch(position: usize, name: &str) -> Result<&'static Arch> {
    Arch::find(name)
        .ok_or_else(|| wrong(format!("linux.seccomp.architectures[{position}]: {name:?} is unknown")))
}

/// An action with its data; `prefix` is what stands before `Action` or `action` in the field's name.
fn action(prefix: &str, name: &str, errno: Option<u32>) -> Result<Action> {
    let Some(&(_, kind)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
        return Err(action_error(prefix, name, errno));
    };
    let limit = match kind {
        libc::SECCOMP_RET_ERRNO => LARGEST_ERRNO,
        libc::SECCOMP_RET_TRACE => libc::SECCOMP_RET_DATA,
        _ if errno.is_some() => return Err(action_error(prefix, name, errno)),
        _ => return Ok(Action(kind)),
    };
    match errno.unwrap_or(libc::EPERM.cast_unsigned()) {
        data if data <= limit => Ok(Action(kind | data)),
        _ => Err(action_error(prefix, name, errno)),
    }
}

/// Why a name and an errno are no action.
fn action_error(prefix: &str, name: &str, errno: Option<u32>) -> Error {
    let default = prefix.ends_with("default");
    let (action_field, errno_field) = if default { ("Action", "ErrnoRet") } else { ("action", "errnoRet") };
    let limit = match name {
        _ if !ACTIONS.iter().any(|(known, _)| *known == name) => {
            return wrong(format!("{prefix}{action_field}: unknown action {name:?}"));
        }
        "SCMP_ACT_ERRNO" => LARGEST_ERRNO,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_DATA,
        _ => return wrong(format!("{prefix}{errno_field}: {name} takes no errno")),
    };
    wrong(format!("{prefix}{errno_field}: {} is above {limit}, the most {name} takes", errno.unwrap_or(0)))
}

fn read_notify(seccomp: &Seccomp, first_rule: Option<usize>) -> Result<Option<Notify>> {
    if seccomp.listener_path.is_empty() && !seccomp.listener_metadata.is_empty() {
        return Err(wrong("linux.seccomp.listenerMetadata: has no meaning without listenerPath".into()));
    }
    let Some(rule) = first_rule else { return Ok(None) };
    if seccomp.listener_path.is_empty() {
        return Err(wrong(format!(
            "linux.seccomp.listenerPath: required by SCMP_ACT_NOTIFY in linux.seccomp.syscalls[{rule}].action"
        )));
    }
    Ok(Some(Notify {
        listener_path: seccomp.listener_path.clone(),
        metadata: seccomp.listener_metadata.clone(),
    }))
}

fn read_flags(names: Option<&[String]>, notify: bool) -> Result<u32> {
    // runc's choice where the profile makes none: without it each task pays for speculation barriers.
    let mut flags = if names.is_none() { sys::seccomp::FLAG_SPEC_ALLOW } else { 0 };
    for (position, name) in names.unwrap_or_default().iter().enumerate() {
        let Some(&(_, flag)) = FLAGS.iter().find(|(known, _)| known == name) else {
            return Err(wrong(format!("linux.seccomp.flags[{position}]: unknown flag {name:?}")));
        };
        if flag == sys::seccomp::FLAG_WAIT_KILLABLE_RECV && !notify {
            return Err(wrong(format!(
                "linux.seccomp.flags[{position}]: {name} needs a rule with SCMP_ACT_NOTIFY"
            )));
        }
        flags |= flag;
    }
    if notify {
        flags |= sys::seccomp::FLAG_NEW_LISTENER;
        // Both use the call's result, so the kernel takes them together only if a failure to synchronise
        // is an errno rather than a thread's id.
        if flags & sys::seccomp::FLAG_TSYNC != 0 {
            flags |= sys::seccomp::FLAG_TSYNC_ESRCH;
        }
    }
    Ok(flags)
}

/// A violation of the specification.
pub fn wrong(what: String) -> Error {
    Error::new(Kind::Spec, what)
}
