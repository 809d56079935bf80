//! Who the image's program runs as: `USER` or `--user`, by the image's own /etc/passwd and /etc/group.
//!
//! Those two files are input from outside. Digits are a number and never a name, a number out of range is an error, and
//! so is a name that is not there (CVE-2024-40635, CVE-2026-46680): nothing falls back to root. Sources: passwd(5),
//! group(5). Pure: the files come as text, of bounded length.

use crate::error::{Error, Result};

/// Highest id that Docker takes.
const ID_MAX: u32 = 2_147_483_647;

/// Who a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups, without [`Account::gid`].
    pub groups: Vec<u32>,
    /// Home folder, `/` where the image knows none.
    pub home: String,
}

/// The image's own files; empty where it has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// /etc/passwd.
    pub passwd: &'a str,
    /// /etc/group.
    pub group: &'a str,
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Finds `user`, `user:group`, each a name or a number, and the groups of `--group-add`. Nothing means root.
///
/// # Errors
/// Docker's words for a name that is not there or a number out of range.
pub fn resolve(wanted: &str, added: &[String], files: Files) -> Result<Account> {
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let found = match user {
        "" => find_user(files.passwd, |user| user.uid == 0),
        user => match number(user)? {
            Some(uid) => find_user(files.passwd, |user| user.uid == uid),
            None => Some(find_user(files.passwd, |entry| entry.name == user).ok_or_else(|| {
                Error::usage(format!("unable to find user {user}: no matching entries in passwd file"))
            })?),
        },
    };
    let uid = match (&found, number(user)?) {
        (Some(found), _) => found.uid,
        (None, number) => number.unwrap_or(0),
    };
    let mut groups = Vec::new();
    let gid = match group {
        Some(group) => find_group(files.group, group)?,
        None => {
            // As login does it; with a group of the user's choice there is no other (as Docker).
            let name = found.as_ref().map(|user| user.name);
            let is_member = |entry: &Group| entry.members.split(',').any(|member| Some(member) == name);
            groups.extend(all_groups(files.group).filter(is_member).map(|entry| entry.gid));
            found.as_ref().map_or(0, |user| user.gid)
        }
    };
    for group in added {
        groups.push(find_group(files.group, group)?);
    }
    let mut seen = std::collections::BTreeSet::from([gid]);
    groups.retain(|group| seen.insert(*group));
    let home = found.map_or("", |user| user.home);
    let home = if home.starts_with('/') { home } else { "/" };
    Ok(Account { uid, gid, groups, home: home.to_owned() })
}

/// A number in range; None if the text is no number but a name.
fn number(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number <= ID_MAX && digits.len() == text.len() => Ok(Some(number)),
        _ => Err(Error::usage(format!("{text}: uids and gids must be in range 0-{ID_MAX}"))),
    }
}

/// The first that fits; lines that are no entries are passed over.
fn find_user<'a>(passwd: &'a str, fits: impl Fn(&User) -> bool) -> Option<User<'a>> {
    let entries = passwd.lines().filter_map(|line| {
        let mut fields = line.trim_end_matches('\r').split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(User { name, uid: id(uid)?, gid: id(gid)?, home })
    });
    entries.filter(|user| !user.name.is_empty()).find(|user| fits(user))
}

fn all_groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim_end_matches('\r').split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let members = fields.next().unwrap_or_default();
        (!name.is_empty()).then_some(Group { name, gid: id(gid)?, members })
    })
}

fn find_group(groups: &str, wanted: &str) -> Result<u32> {
    if let Some(gid) = number(wanted)? {
        return Ok(gid);
    }
    let found = all_groups(groups).find(|group| group.name == wanted);
    found.map(|group| group.gid).ok_or_else(|| {
        Error::usage(format!("unable to find group {wanted}: no matching entries in group file"))
    })
}

/// An id in a file: digits, in range.
fn id(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|id| *id <= ID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: Files = Files {
        passwd: "root:x:0:0:root:/root:/bin/sh\n\nbad line\nhuge:x:4294967296:0::/:\n4294967296:x:0:0::/evil:\n\
                 7:x:0:0::/evil:\nweb:x:33:34:web:/srv/web:/bin/sh\nhomeless:x:40:40::relative:\nlast:x:50:51",
        group: "root:x:0:\nwww:x:34:\nextra:x:2000:root,web\nmore:x:2001:web,\n2002:x:0:web\ncdrom:x:24:x,y\n",
    };

    fn resolved(wanted: &str, added: &[&str]) -> std::result::Result<(u32, u32, Vec<u32>, String), String> {
        let added: Vec<String> = added.iter().map(|group| (*group).to_owned()).collect();
        let account = resolve(wanted, &added, FILES).map_err(|error| error.to_string())?;
        Ok((account.uid, account.gid, account.groups, account.home))
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let of = |uid, gid, groups: &[u32], home: &str| Ok((uid, gid, groups.to_vec(), home.to_owned()));
        assert_eq!(resolved("", &[]), of(0, 0, &[2000], "/root"));
        assert_eq!(resolved("root", &[]), of(0, 0, &[2000], "/root"));
        // A group named 2002 with gid 0 is one of its groups: its members say so.
        assert_eq!(resolved("web", &[]), of(33, 34, &[2000, 2001, 0], "/srv/web"));
        assert_eq!(resolved("33", &[]), of(33, 34, &[2000, 2001, 0], "/srv/web"));
        assert_eq!(resolved("033", &[]), of(33, 34, &[2000, 2001, 0], "/srv/web"));
        assert_eq!(resolved("web:cdrom", &[]), of(33, 24, &[], "/srv/web"));
        assert_eq!(
            resolved("web:", &["cdrom", "77", "34", "77"]),
            of(33, 34, &[2000, 2001, 0, 24, 77], "/srv/web")
        );
        assert_eq!(resolved("1234", &[]), of(1234, 0, &[], "/"));
        assert_eq!(resolved("1234:5678", &["5678"]), of(1234, 5678, &[], "/"));
        assert_eq!(resolved(":cdrom", &[]), of(0, 24, &[], "/root"));
        assert_eq!(resolved("homeless", &[]), of(40, 40, &[], "/"));
        assert_eq!(resolved("last", &[]), of(50, 51, &[], "/"));
        assert_eq!(resolved("2147483647", &[]), of(2_147_483_647, 0, &[], "/"));
        let none = resolve("", &[], Files::default()).unwrap();
        assert_eq!(none, Account { uid: 0, gid: 0, groups: vec![], home: "/".into() });
    }

    #[test]
    fn nothing_falls_back_to_root() {
        // CVE-2024-40635: an entry with such a name must not be found either.
        for wanted in ["4294967296", "2147483648", "-1", "+0", "99999999999999999999", "0:4294967296", "0:-1"]
        {
            let error = resolved(wanted, &[]).unwrap_err();
            assert!(error.ends_with("uids and gids must be in range 0-2147483647"), "{wanted}: {error}");
        }
        // A number is never a name, whatever the image's file calls so.
        assert_eq!(resolved("7", &[]).unwrap().0, 7);
        assert_eq!(resolved("0:2002", &[]).unwrap().1, 2002);
        for wanted in ["nobody", "huge", "bad line", "0x0", "1a", "١", " 0"] {
            let error = resolved(wanted, &[]).unwrap_err();
            assert_eq!(error, format!("unable to find user {wanted}: no matching entries in passwd file"));
        }
        assert!(resolved("0:nogroup", &[]).unwrap_err().contains("unable to find group nogroup"));
        assert!(resolved("", &["nogroup"]).unwrap_err().contains("unable to find group nogroup"));
    }
}
