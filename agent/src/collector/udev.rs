//! What udev knows about the disks.

use std::collections::BTreeMap;

use super::Context;
use crate::exposition::Family;
use crate::host::Root;
use crate::lines::number;

/// Properties such as `ID_MODEL` of one device.
#[derive(Debug, Default)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The value of a property, empty where the device does not have it.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// A metric that says what a disk is: name, help text, the property it needs, labels with the property behind each.
type Description =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const DESCRIPTIONS: [Description; 2] = [
    (
        "node_disk_filesystem_info",
        "Info about disk filesystem.",
        "ID_FS_TYPE",
        &[
            ("type", "ID_FS_TYPE"),
            ("usage", "ID_FS_USAGE"),
            ("uuid", "ID_FS_UUID"),
            ("version", "ID_FS_VERSION"),
        ],
    ),
    (
        "node_disk_device_mapper_info",
        "Info about disk device mapper.",
        "DM_NAME",
        &[
            ("lv_layer", "DM_LV_LAYER"),
            ("lv_name", "DM_LV_NAME"),
            ("name", "DM_NAME"),
            ("uuid", "DM_UUID"),
            ("vg_name", "DM_VG_NAME"),
        ],
    ),
];

/// A number that an ATA disk says about itself: metric, help text, property.
const ATA_NUMBERS: [(&str, &str, &str); 3] = [
    ("node_disk_ata_write_cache", "ATA disk has a write cache.", "ID_ATA_WRITE_CACHE"),
    (
        "node_disk_ata_write_cache_enabled",
        "ATA disk has its write cache enabled.",
        "ID_ATA_WRITE_CACHE_ENABLED",
    ),
    (
        "node_disk_ata_rotation_rate_rpm",
        "ATA disk rotation rate in RPMs (0 for SSDs).",
        "ID_ATA_ROTATION_RATE_RPM",
    ),
];

/// Reads udev's file about a block device, or nothing where udev does not run.
pub fn properties(cx: &Context, major: &str, minor: &str) -> Properties {
    let text = cx.host.text(Root::Rootfs, &format!("run/udev/data/b{major}:{minor}"));
    text.map(|text| parse(&text)).unwrap_or_default()
}

/// Reads lines such as `E:ID_MODEL=SAMSUNG`.
pub fn parse(text: &str) -> Properties {
    let property = |line: &str| {
        let (name, value) = line.strip_prefix("E:")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    Properties(text.lines().filter_map(property).collect())
}

/// Writes what is known about each disk.
pub fn families(disks: &[(&str, Properties)]) -> Vec<Family> {
    let descriptions = DESCRIPTIONS.iter().map(|(name, help, needed, keys)| {
        let mut family = Family::gauge(*name, help);
        for (device, known) in disks.iter().filter(|(_, known)| !known.get(needed).is_empty()) {
            let mut labels = vec![("device", *device)];
            labels.extend(keys.iter().map(|(label, key)| (*label, known.get(key))));
            family.add(&labels, 1.0);
        }
        family
    });
    let numbers = ATA_NUMBERS.iter().map(|(name, help, key)| {
        let mut family = Family::gauge(*name, help);
        for (device, known) in disks.iter().filter(|(_, known)| !known.get("ID_ATA").is_empty()) {
            if let Ok(value) = number(known.get(key)) {
                family.add(&[("device", device)], value);
            }
        }
        family
    });
    descriptions.chain(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::render;

    #[test]
    fn only_properties_are_read() {
        let properties = parse("S:disk/by-id/x\nE:ID_MODEL=A=B\nE:nothing\nI:5\nE:ID_WWN=\n");
        assert_eq!(properties.get("ID_MODEL"), "A=B");
        assert_eq!(properties.get("ID_WWN"), "");
        assert_eq!(properties.get("ID_PATH"), "");
    }

    #[test]
    fn only_what_a_disk_has_is_written() {
        let ata = parse("E:ID_ATA=1\nE:ID_ATA_WRITE_CACHE=1\nE:ID_ATA_ROTATION_RATE_RPM=fast\n");
        let mapper = parse("E:DM_NAME=vg-root\nE:DM_UUID=LVM-x\n");
        assert_eq!(
            render(families(&[("sda", ata), ("dm-0", mapper), ("vda", Properties::default())])),
            "# HELP node_disk_ata_write_cache ATA disk has a write cache.\n\
             # TYPE node_disk_ata_write_cache gauge\n\
             node_disk_ata_write_cache{device=\"sda\"} 1\n\
             # HELP node_disk_device_mapper_info Info about disk device mapper.\n\
             # TYPE node_disk_device_mapper_info gauge\n\
             node_disk_device_mapper_info{device=\"dm-0\",lv_layer=\"\",lv_name=\"\",name=\"vg-root\",uuid=\"LVM-x\",vg_name=\"\"} 1\n"
        );
    }
}
