//! The list of mounted filesystems.

use super::Context;
use crate::host::Root;
use crate::lines::{self, Parsed};

/// One mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// What is mounted, such as `/dev/vda1`.
    pub device: String,
    /// Where.
    pub mount_point: String,
    /// The kind of filesystem, such as `ext4`.
    pub kind: String,
    /// The device's class.
    pub major: String,
    /// The device's number in its class.
    pub minor: String,
    /// Whether the mount or the filesystem itself may be written.
    pub access: Access,
}

/// Whether a filesystem may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// Reads the host's mounts as its first process sees them, or as the agent does where that is hidden.
pub fn read(cx: &Context) -> std::io::Result<Parsed<Mount>> {
    let text = cx
        .host
        .text(Root::Procfs, "1/mountinfo")
        .or_else(|_| cx.host.text(Root::Procfs, "self/mountinfo"))?;
    Ok(parse(&text))
}

/// Reads lines such as `28 27 8:17 / /srv ro,noatime shared:3 - xfs /dev/sdb1 rw,attr2`.
pub fn parse(text: &str) -> Parsed<Mount> {
    lines::each(text, |line| {
        let (place, filesystem) = line.split_once(" - ").ok_or("found no ` - `")?;
        let place: Vec<_> = place.split(' ').collect();
        // The name of the device may be empty, so runs of spaces must not be taken as one.
        let filesystem: Vec<_> = filesystem.splitn(3, ' ').collect();
        let ([_, _, numbers, _, mount_point, options, ..], [kind, device, more_options]) =
            (&place[..], &filesystem[..])
        else {
            return Err(format!(
                "found {} words, wanted at least 10",
                place.len() + filesystem.len()
            ));
        };
        let (major, minor) =
            numbers.split_once(':').ok_or_else(|| format!("found the device `{numbers:.40}`"))?;
        Ok(Some(Mount {
            device: unescape(device),
            mount_point: unescape(mount_point),
            kind: unescape(kind),
            major: major.to_owned(),
            minor: minor.to_owned(),
            access: access(options, more_options),
        }))
    })
}

fn access(mount: &str, filesystem: &str) -> Access {
    let is_locked = |option: &str| matches!(option, "ro" | "emergency_ro");
    match mount.split(',').any(|option| option == "ro") || filesystem.split(',').any(is_locked) {
        true => Access::ReadOnly,
        false => Access::ReadWrite,
    }
}

/// Takes back what the kernel does to spaces, tabs, line ends and backslashes: `\040` is a space.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits =
            part.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let code =
            digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                out.extend([char::from(code).encode_utf8(&mut [0; 4]) as &str, &part[3..]])
            }
            None => out.extend(["\\", part]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn optional_fields_may_be_there_or_not() {
        let parsed = parse(
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n36 35 98:0 /mnt1 /mnt\\0402\\011 ro,noatime master:1 shared:2 - nfs4 host:/a\\134b rw\n",
        );
        let mount =
            |device: &str, mount_point: &str, kind: &str, (major, minor): (&str, &str), access| {
                Mount {
                    device: device.to_owned(),
                    mount_point: mount_point.to_owned(),
                    kind: kind.to_owned(),
                    major: major.to_owned(),
                    minor: minor.to_owned(),
                    access,
                }
            };
        assert_eq!(
            parsed.items,
            [
                mount("/dev/vda", "/", "ext4", ("254", "0"), Access::ReadWrite),
                mount("host:/a\\b", "/mnt 2\t", "nfs4", ("98", "0"), Access::ReadOnly),
            ]
        );
    }

    #[test]
    fn a_filesystem_can_be_locked_although_its_mount_is_not() {
        let access = |line: &str| parse(line).items[0].access;
        assert_eq!(access("1 2 3:4 / /a rw - ext4 /dev/a rw,emergency_ro"), Access::ReadOnly);
        assert_eq!(access("1 2 3:4 / /a rw - ext4 /dev/a ro"), Access::ReadOnly);
        assert_eq!(
            access("1 2 3:4 / /a rw,romantic - ext4 /dev/a rw,errors=remount-ro"),
            Access::ReadWrite
        );
    }

    #[test]
    fn a_device_without_a_name_is_read() {
        assert_eq!(parse("1 2 3:4 / /a rw - tmpfs  rw\n").items[0].device, "");
    }

    #[test]
    fn odd_lines_are_named_and_the_others_kept() {
        let parsed = parse(
            "1 2 3:4 / /a rw tmpfs\n1 2 - tmpfs x rw\n1 2 34 / /a rw - tmpfs x rw\n1 2 3:4 / /a rw - tmpfs x rw\n",
        );
        assert_eq!(parsed.items.len(), 1);
        assert_eq!(
            parsed.problems,
            [
                "line 1: found no ` - `",
                "line 2: found 5 words, wanted at least 10",
                "line 3: found the device `34`"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_ends_the_parser(text in any::<String>()) {
            parse(&text);
            parse(&format!("1 2 3:4 / {text} rw - {text} {text} {text}"));
        }
    }
}
