//! Names of devices: `vendor.com/class=name` (SPEC.md, "Kind" and "CDI Devices"). Pure.

/// A name in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// `vendor.com/class`
    pub kind: &'a str,
    /// The device's own.
    pub device: &'a str,
}

/// Reads a name; None for what is none, such as a path.
#[must_use]
pub fn parse(text: &str) -> Option<Name<'_>> {
    let (kind, device) = text.split_once('=')?;
    (is_kind(kind) && is_device(device)).then_some(Name { kind, device })
}

/// Is this a vendor and a class?
#[must_use]
pub fn is_kind(text: &str) -> bool {
    let Some((vendor, class)) = text.split_once('/') else { return false };
    is_word(vendor, "_-.", false) && is_word(class, "_-", false)
}

/// Is this the name of a device?
#[must_use]
pub fn is_device(text: &str) -> bool {
    is_word(text, "_-.:", true)
}

/// Letters and digits at both ends, a letter at the first unless digits may be there, and these signs in between.
fn is_word(text: &str, signs: &str, digit_first: bool) -> bool {
    let first = text.chars().next();
    let is_first = |char: char| char.is_ascii_alphabetic() || digit_first && char.is_ascii_digit();
    first.is_some_and(is_first)
        && text.ends_with(|char: char| char.is_ascii_alphanumeric())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || signs.contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_vendor_a_class_and_a_device() {
        for text in ["vendor.com/net=eth0", "nvidia.com/gpu=all", "nvidia.com/gpu=0", "a/b=GPU-1:0.2"] {
            assert!(parse(text).is_some(), "{text}");
        }
        let name = parse("vendor.com/gpu=one").unwrap();
        assert_eq!((name.kind, name.device), ("vendor.com/gpu", "one"));
        for text in [
            "/dev/sda",
            "gpu=0",
            "vendor.com/gpu",
            "vendor.com/gpu=",
            "0v/gpu=0",
            "v/gpu.x=0",
            "v/=0",
            "v-/g=0",
            "v/g=0/1",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
