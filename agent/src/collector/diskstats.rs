//! What the disks did.

use anyhow::Result;

use super::udev::{self, Properties};
use super::{Collected, Context};
use crate::exposition::{Family, Kind};
use crate::lines::{self, Parsed, count, number, unique};

/// The kernel counts in sectors of this size whatever the disk's own is.
const SECTOR_BYTES: f64 = 512.0;
const SECONDS_PER_TICK: f64 = 1.0 / 1000.0;

/// The numbers of a line in their order: metric without `node_disk_`, factor, help text.
const COLUMNS: [(&str, f64, &str); 17] = [
    ("reads_completed_total", 1.0, "The total number of reads completed successfully."),
    ("reads_merged_total", 1.0, "The total number of reads merged."),
    ("read_bytes_total", SECTOR_BYTES, "The total number of bytes read successfully."),
    (
        "read_time_seconds_total",
        SECONDS_PER_TICK,
        "The total number of seconds spent by all reads.",
    ),
    ("writes_completed_total", 1.0, "The total number of writes completed successfully."),
    ("writes_merged_total", 1.0, "The number of writes merged."),
    ("written_bytes_total", SECTOR_BYTES, "The total number of bytes written successfully."),
    (
        "write_time_seconds_total",
        SECONDS_PER_TICK,
        "This is the total number of seconds spent by all writes.",
    ),
    ("io_now", 1.0, "The number of I/Os currently in progress."),
    ("io_time_seconds_total", SECONDS_PER_TICK, "Total seconds spent doing I/Os."),
    (
        "io_time_weighted_seconds_total",
        SECONDS_PER_TICK,
        "The weighted # of seconds spent doing I/Os.",
    ),
    ("discards_completed_total", 1.0, "The total number of discards completed successfully."),
    ("discards_merged_total", 1.0, "The total number of discards merged."),
    ("discarded_sectors_total", 1.0, "The total number of sectors discarded successfully."),
    (
        "discard_time_seconds_total",
        SECONDS_PER_TICK,
        "This is the total number of seconds spent by all discards.",
    ),
    ("flush_requests_total", 1.0, "The total number of flush requests completed successfully"),
    (
        "flush_requests_time_seconds_total",
        SECONDS_PER_TICK,
        "This is the total number of seconds spent by all flush requests.",
    ),
];

/// The one column that is no counter; some kernels let it fall below zero.
const IN_PROGRESS: usize = 8;
/// Columns that a kernel since 2.6 has; the later ones came in 4.18 and 5.5.
const OLDEST_COLUMNS: usize = 11;

/// Reads `/proc/diskstats`, and about each disk sysfs and udev.
pub fn collect(cx: &Context) -> Result<Collected> {
    let parsed = parse(&cx.procfs("diskstats")?);
    let mut families = families(&parsed.items);
    families.extend(details(cx, &parsed.items));
    Ok(Collected { families, problems: parsed.problems, ..Collected::default() })
}

/// One line.
#[derive(Debug, PartialEq)]
pub struct Disk {
    /// The device's class.
    pub major: String,
    /// The device's number in its class.
    pub minor: String,
    /// The device's name.
    pub device: String,
    /// As many columns as this kernel has, in the metrics' units.
    pub values: Vec<f64>,
}

/// Reads lines such as `254 0 vda 42712 19221 3292946 8084 ...`, without the devices that are ignored.
pub fn parse(text: &str) -> Parsed<Disk> {
    let parsed = lines::each(text, |line| {
        let mut words = line.split_whitespace();
        let (Some(major), Some(minor), Some(device)) = (words.next(), words.next(), words.next())
        else {
            return Err("found no device".to_owned());
        };
        if is_ignored(device) {
            return Ok(None);
        }
        let read = |(index, word)| if index == IN_PROGRESS { number(word) } else { count(word) };
        let values: Vec<_> =
            words.take(COLUMNS.len()).enumerate().map(read).collect::<Result<_, _>>()?;
        if values.len() < OLDEST_COLUMNS {
            return Err(format!(
                "found {} numbers, wanted at least {OLDEST_COLUMNS}",
                values.len()
            ));
        }
        let values =
            values.iter().zip(COLUMNS).map(|(value, (_, factor, _))| value * factor).collect();
        Ok(Some(Disk {
            major: major.to_owned(),
            minor: minor.to_owned(),
            device: device.to_owned(),
            values,
        }))
    });
    Parsed { items: unique(parsed.items, |disk| disk.device.clone()), problems: parsed.problems }
}

/// Says the same as node_exporter's default pattern `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn is_ignored(device: &str) -> bool {
    let stem = device.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    let is_disk_letter = |rest: &str| matches!(rest.as_bytes(), [b'a'..=b'z']);
    matches!(stem, "ram" | "zram" | "loop" | "fd")
        || ["hd", "sd", "vd", "xvd"]
            .iter()
            .any(|disk| stem.strip_prefix(disk).is_some_and(is_disk_letter))
        || is_nvme_partition(stem)
}

fn is_nvme_partition(stem: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = stem
        .strip_prefix("nvme")
        .and_then(|rest| rest.strip_suffix('p'))
        .and_then(|rest| rest.split_once('n'));
    numbers.is_some_and(|(controller, namespace)| digits(controller) && digits(namespace))
}

fn families(disks: &[Disk]) -> Vec<Family> {
    let family = |(index, (name, _, help)): (usize, &(&str, f64, &str))| {
        let kind = if index == IN_PROGRESS { Kind::Gauge } else { Kind::Counter };
        let mut family = Family::new(format!("node_disk_{name}"), kind, help);
        for disk in disks {
            if let Some(value) = disk.values.get(index) {
                family.add(&[("device", &disk.device)], *value);
            }
        }
        family
    };
    COLUMNS.iter().enumerate().map(family).collect()
}

fn details(cx: &Context, disks: &[Disk]) -> Vec<Family> {
    let mut info = Family::gauge("node_disk_info", "Info of /sys/block/<block_device>.");
    let mut known = Vec::with_capacity(disks.len());
    for disk in disks {
        let properties = udev::properties(cx, &disk.major, &disk.minor);
        info.add(&info_labels(disk, &properties, rotational(cx, &disk.device)), 1.0);
        known.push((disk.device.as_str(), properties));
    }
    let mut families = udev::families(&known);
    families.push(info);
    families
}

fn info_labels<'a>(
    disk: &'a Disk,
    known: &'a Properties,
    rotational: &'a str,
) -> [(&'static str, &'a str); 9] {
    // The serial number on the disk's sticker comes first; virtio disks know only the last of the three.
    let mut serials =
        ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].iter().map(|key| known.get(key));
    [
        ("device", &disk.device),
        ("major", &disk.major),
        ("minor", &disk.minor),
        ("model", known.get("ID_MODEL")),
        ("path", known.get("ID_PATH")),
        ("revision", known.get("ID_REVISION")),
        ("rotational", rotational),
        ("serial", serials.find(|serial| !serial.is_empty()).unwrap_or_default()),
        ("wwn", known.get("ID_WWN")),
    ]
}

fn rotational(cx: &Context, device: &str) -> &'static str {
    // sysfs writes `!` where a device's name has a `/`.
    let answer = cx.sysfs(&format!("block/{}/queue/rotational", device.replace('/', "!")));
    if answer.as_deref() == Some("1") { "1" } else { "0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VDA: &str = " 254       0 vda 42712 19221 3292946 8084 4562 26130 2319904 6253 0 4400 14728 5697 22 846048 384 205 6\n";

    #[test]
    fn sectors_become_bytes_and_ticks_seconds() {
        let parsed = parse(VDA);
        let disk = &parsed.items[0];
        assert_eq!(
            (disk.major.as_str(), disk.minor.as_str(), disk.device.as_str()),
            ("254", "0", "vda")
        );
        assert_eq!(disk.values.len(), 17);
        assert_eq!(disk.values[2], 3_292_946.0 * 512.0);
        assert_eq!(disk.values[3], 8.084);
        assert_eq!(disk.values[16], 0.006);
    }

    #[test]
    fn older_kernels_have_fewer_columns() {
        assert_eq!(parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n").items[0].values.len(), 11);
        assert_eq!(
            parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n").items[0].values.len(),
            15
        );
        assert_eq!(
            parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n").items[0]
                .values
                .len(),
            17
        );
    }

    #[test]
    fn odd_lines_are_named_and_the_others_kept() {
        let parsed = parse(&format!(
            "8 0\n8 1 sdb 1 2 3\n8 2 sdc 1 2 x 4 5 6 7 8 9 10 11\n8 3 sdd 1 2 3 -4 5 6 7 8 9 10 11\n{VDA}{VDA}8 4 sde 1 2 3 4 5 6 7 8 -1 10 99999999999999999999\n"
        ));
        let names: Vec<_> = parsed.items.iter().map(|disk| disk.device.as_str()).collect();
        assert_eq!(names, ["vda", "sde"]);
        assert_eq!(parsed.items[1].values[8], -1.0);
        assert_eq!(
            parsed.problems,
            [
                "line 1: found no device",
                "line 2: found 3 numbers, wanted at least 11",
                "line 3: found `x`, wanted a whole number",
                "line 4: found `-4`, wanted a whole number",
            ]
        );
    }

    #[test]
    fn the_same_devices_are_ignored_as_by_node_exporter() {
        for device in [
            "ram0",
            "zram1",
            "loop12",
            "fd0",
            "sda1",
            "hdb12",
            "vdc3",
            "xvda1",
            "nvme0n1p1",
            "nvme10n2p15",
        ] {
            assert!(is_ignored(device), "{device}");
        }
        for device in [
            "sda",
            "vda",
            "xvda",
            "nvme0n1",
            "dm-0",
            "md127",
            "sr0",
            "sdaa1",
            "mmcblk0p1",
            "nvmen1p1",
            "nvme0n1p",
            "bcache0",
            "1",
        ] {
            assert!(!is_ignored(device), "{device}");
        }
    }

    #[test]
    fn a_name_with_replaced_bytes_is_kept() {
        let text = String::from_utf8_lossy(b"8 0 s\xffd\" 1 2 3 4 5 6 7 8 9 10 11\n").into_owned();
        assert_eq!(parse(&text).items[0].device, "s\u{fffd}d\"");
    }
}
