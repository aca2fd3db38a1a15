//! Time zones from the system's files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::cron::{TZIF_MAX_BYTES, Zone, Zones, check_zone_name};

/// Where tzdata(5) is, unless the environment's `TZDIR` says otherwise.
pub const ZONE_DIR: &str = "/usr/share/zoneinfo";
/// Most zones that are kept in memory; there are some six hundred names.
const CACHED_MAX: usize = 1_024;

/// Longest first line of the file that names the release.
const VERSION_MAX_BYTES: u64 = 64;

/// Reads TZif files below one directory, each once until [`FileZones::forget`].
#[derive(Debug)]
pub struct FileZones {
    dir: PathBuf,
    cache: RefCell<BTreeMap<String, Zone>>,
    version: RefCell<Option<String>>,
}

impl FileZones {
    /// The zones below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> FileZones {
        let dir = dir.into();
        let version = RefCell::new(version_of(&dir));
        FileZones { dir, cache: RefCell::default(), version }
    }

    /// The system's zones.
    pub fn system() -> FileZones {
        FileZones::new(std::env::var_os("TZDIR").map_or_else(|| ZONE_DIR.into(), PathBuf::from))
    }

    /// Reads every file anew from here on.
    pub fn forget(&self) {
        self.cache.borrow_mut().clear();
        *self.version.borrow_mut() = version_of(&self.dir);
    }

    fn read(&self, name: &str) -> Option<Zone> {
        check_zone_name(name).ok()?;
        let mut bytes = Vec::new();
        // One byte above the limit is enough to be refused by the parser.
        let limit = TZIF_MAX_BYTES as u64 + 1;
        File::open(self.dir.join(name)).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Zone::from_tzif(name, &bytes).ok()
    }
}

impl Zones for FileZones {
    fn zone(&self, name: &str) -> Option<Zone> {
        if let Some(zone) = self.cache.borrow().get(name) {
            return Some(zone.clone());
        }
        // UTC needs no file, so that a machine without tzdata has one zone at least.
        let zone = self.read(name).or_else(|| (name == "UTC").then(Zone::utc))?;
        let mut cache = self.cache.borrow_mut();
        if cache.len() < CACHED_MAX {
            cache.insert(name.to_owned(), zone.clone());
        }
        Some(zone)
    }

    fn version(&self) -> Option<String> {
        self.version.borrow().clone()
    }
}

impl Zones for Rc<FileZones> {
    fn zone(&self, name: &str) -> Option<Zone> {
        FileZones::zone(self, name)
    }

    fn version(&self) -> Option<String> {
        FileZones::version(self)
    }
}

/// The release of the zones below `dir`, as the first line of `tzdata.zi` has it.
fn version_of(dir: &Path) -> Option<String> {
    let mut line = String::new();
    let file = File::open(dir.join("tzdata.zi")).ok()?;
    BufReader::new(file.take(VERSION_MAX_BYTES)).read_line(&mut line).ok()?;
    line.strip_prefix("# version ").map(|version| version.trim().to_owned())
}

/// The name of the system's zone: `TZ`, else what `/etc/localtime` links to, else what
/// `/etc/timezone` says, else `UTC`; a name that `zones` does not know is passed over.
pub fn system_zone(zones: &dyn Zones) -> String {
    let from_variable = || {
        let value = std::env::var("TZ").ok()?;
        Some(value.strip_prefix(':').unwrap_or(&value).to_owned())
    };
    let from_link = || zone_of_path(&std::fs::read_link("/etc/localtime").ok()?);
    let from_file = || Some(std::fs::read_to_string("/etc/timezone").ok()?.trim().to_owned());
    let known = |name: &String| zones.zone(name).is_some();
    let found = from_variable().filter(known).or_else(|| from_link().filter(known));
    found.or_else(|| from_file().filter(known)).unwrap_or_else(|| "UTC".into())
}

/// `../usr/share/zoneinfo/Europe/Paris` is `Europe/Paris`.
fn zone_of_path(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let (_, name) = text.rsplit_once("zoneinfo/")?;
    let name = name.strip_prefix("posix/").or_else(|| name.strip_prefix("right/")).unwrap_or(name);
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_into_the_zone_files_names_the_zone() {
        for (path, name) in [
            ("/usr/share/zoneinfo/Europe/Paris", Some("Europe/Paris")),
            ("../usr/share/zoneinfo/UTC", Some("UTC")),
            ("/usr/share/zoneinfo/posix/Asia/Tokyo", Some("Asia/Tokyo")),
            ("/etc/other", None),
        ] {
            assert_eq!(zone_of_path(Path::new(path)).as_deref(), name);
        }
    }

    #[test]
    fn a_name_never_leads_out_of_the_directory_and_no_other_file_is_a_zone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Bogus"), b"no zone").unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let zones = FileZones::new(&inner);
        for name in ["../Bogus", "Bogus", "", "/etc/passwd", "a/../../Bogus"] {
            assert!(zones.zone(name).is_none(), "{name}");
        }
        assert!(FileZones::new(dir.path()).zone("Bogus").is_none());
        assert_eq!(zones.version(), None);
        std::fs::write(inner.join("tzdata.zi"), "# version 2031c\n# more\n").unwrap();
        zones.forget();
        assert_eq!(zones.version().as_deref(), Some("2031c"));
        assert!(zones.zone("UTC").is_some(), "UTC needs no file");
    }
}
