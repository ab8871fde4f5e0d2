//! Options of a Java virtual machine, as its launcher reads them: what bounds its memory, and what a version of it refuses to start with.

use bstr::{BStr, BString, ByteSlice};

/// What options say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `-Xmx`, in bytes; the last one counts.
    pub heap: Option<u64>,
    /// `-XX:MaxRAMPercentage`, where no heap is given.
    pub share: Option<f64>,
    /// `-XX:MaxMetaspaceSize`
    pub metaspace: Option<u64>,
    /// `-XX:MaxDirectMemorySize`
    pub direct: Option<u64>,
    /// `-Xss`: of each thread.
    pub stack: Option<u64>,
    /// `-XX:ReservedCodeCacheSize`
    pub code: Option<u64>,
    /// The options themselves, up to the class or jar.
    pub words: Vec<BString>,
    /// The jar behind `-jar`.
    pub jar: Option<BString>,
}

/// Options whose value is the next word.
const WITH_VALUE: [&str; 10] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--add-opens",
    "--add-exports",
    "--add-reads",
];

impl Options {
    /// Reads the words behind the program.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a BStr>) -> Options {
        let mut options = Options::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "-jar" {
                options.jar = words.next().map(|jar| jar.to_owned());
                break;
            }
            // The class, or what is no option.
            if !word.starts_with(b"-") {
                break;
            }
            options.take(word);
            options.words.push(word.to_owned());
            if WITH_VALUE.iter().any(|one| word == *one) {
                words.next();
            }
        }
        options
    }

    fn take(&mut self, word: &BStr) {
        let value = |name: &str| word.strip_prefix(name.as_bytes()).and_then(size);
        if let Some(bytes) = value("-Xmx").or_else(|| value("-XX:MaxHeapSize=")) {
            self.heap = Some(bytes);
        } else if let Some(bytes) = value("-XX:MaxMetaspaceSize=") {
            self.metaspace = Some(bytes);
        } else if let Some(bytes) = value("-XX:MaxDirectMemorySize=") {
            self.direct = Some(bytes);
        } else if let Some(bytes) = value("-XX:ReservedCodeCacheSize=") {
            self.code = Some(bytes);
        } else if let Some(bytes) = value("-Xss") {
            self.stack = Some(bytes);
        } else if let Some(kib) = value("-XX:ThreadStackSize=") {
            self.stack = Some(kib.saturating_mul(1024));
        } else if let Some(share) = word.strip_prefix(b"-XX:MaxRAMPercentage=") {
            self.share = share
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|share: &f64| (0.0..=100.0).contains(share));
        }
    }
}

/// `8g`, `512m`, `1024K`, `65536`
pub fn size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u64 = text.get(..digits)?.to_str().ok()?.parse().ok()?;
    let scale = match text.get(digits..)? {
        b"" => 1,
        b"k" | b"K" => 1 << 10,
        b"m" | b"M" => 1 << 20,
        b"g" | b"G" => 1 << 30,
        b"t" | b"T" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(scale)
}

/// `JAVA_VERSION="1.8.0_392"` of the file `release`: 8. `"17.0.15"`: 17.
pub fn major(release: &[u8]) -> Option<u64> {
    let line = release.lines().find_map(|line| line.strip_prefix(b"JAVA_VERSION="))?;
    let text = line.trim_with(|c| c == '"' || c.is_whitespace()).to_str().ok()?;
    let mut parts = text.split(['.', '_', '-', '+']);
    let first: u64 = parts.next()?.parse().ok()?;
    if first == 1 { parts.next()?.parse().ok() } else { Some(first) }
}

/// Logging of the garbage collector in the words of JDK 8: unknown from 9 on. PrintGC, PrintGCDetails and -Xloggc are not among them: those still work.
const LOGGING: &[&str] = &[
    "GCLogFileSize",
    "NumberOfGCLogFiles",
    "PrintAdaptiveSizePolicy",
    "PrintGCApplicationConcurrentTime",
    "PrintGCApplicationStoppedTime",
    "PrintGCCause",
    "PrintGCDateStamps",
    "PrintGCTimeStamps",
    "PrintHeapAtGC",
    "PrintPromotionFailure",
    "PrintReferenceGC",
    "PrintTenuringDistribution",
    "UseGCLogFileRotation",
];

/// What JDK 17 does not know any more; some versions before it ignore these with a warning.
const GONE: &[&str] = &[
    "AggressiveOpts",
    "CMSClassUnloadingEnabled",
    "CMSInitiatingOccupancyFraction",
    "CMSParallelRemarkEnabled",
    "CMSScavengeBeforeRemark",
    "MaxPermSize",
    "ParallelCMSThreads",
    "PermSize",
    "PrintSafepointStatistics",
    "TraceClassLoading",
    "UnlockCommercialFeatures",
    "UseCGroupMemoryLimitForHeap",
    "UseCMSInitiatingOccupancyOnly",
    "UseConcMarkSweepGC",
    "UseFastAccessorMethods",
    "UseParNewGC",
    "UseParallelOldGC",
];

/// Whether a virtual machine of this version does not start with an option.
pub fn refuses(major: u64, word: &[u8]) -> bool {
    let Some(flag) = word.strip_prefix(b"-XX:") else {
        let is_new = word.starts_with(b"-Xlog:") || word == b"-Xlog" || word.starts_with(b"--add-");
        return is_new && major <= 8 || (word == b"-d64" || word == b"-Xincgc") && major >= 17;
    };
    let flag = flag.strip_prefix(b"+").or_else(|| flag.strip_prefix(b"-")).unwrap_or(flag);
    let name = flag.split(|byte| *byte == b'=').next().unwrap_or_default();
    let among = |names: &[&str]| names.iter().any(|one| one.as_bytes() == name);
    among(LOGGING) && major >= 9 || among(GONE) && major >= 17 || name == b"UseZGC" && major <= 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Options {
        Options::read(line.split_ascii_whitespace().map(BStr::new))
    }

    #[test]
    fn of_the_e_book() {
        let options = of(
            "-server -Xmx8g -verbose:gc -XX:+PrintGCDetails -Xloggc:/var/log/gc.log -cp a.jar:b.jar -Xss512k -jar shop.jar --server.port=9052 -Xmx1g",
        );
        assert_eq!((options.heap, options.stack), (Some(8 << 30), Some(512 << 10)));
        assert!(options.jar.is_some_and(|jar| jar == "shop.jar"));
        assert_eq!(options.words.len(), 7);
        // It starts, with a warning.
        assert!(!options.words.iter().any(|word| refuses(17, word) || refuses(8, word)));
    }

    #[test]
    fn versions() {
        assert_eq!(major(b"IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\n"), Some(17));
        assert_eq!(major(b"JAVA_VERSION=\"1.8.0_392\"\n"), Some(8));
        assert_eq!(major(b"JAVA_VERSION=\"21\"\n"), Some(21));
        assert_eq!(major(b"JAVA_VERSION=\"\"\n"), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(
            (size(b"8g"), size(b"512M"), size(b"7"), size(b"x"), size(b"1gb")),
            (Some(8 << 30), Some(512 << 20), Some(7), None, None)
        );
    }

    #[test]
    fn refused() {
        for (major, word, is) in [
            (17, "-XX:+PrintGCDateStamps", true),
            (8, "-XX:+PrintGCDateStamps", false),
            (17, "-XX:+PrintGCDetails", false),
            (17, "-XX:MaxPermSize=128m", true),
            (11, "-XX:MaxPermSize=128m", false),
            (17, "-XX:+UseConcMarkSweepGC", true),
            (8, "-Xlog:gc*", true),
            (11, "-Xlog:gc*", false),
            (8, "-Xloggc:/x", false),
            (8, "--add-opens=java.base/java.lang=ALL-UNNAMED", true),
        ] {
            assert_eq!(refuses(major, word.as_bytes()), is, "{major} {word}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[-XmxsX:=+0-9gk a.]{0,60}") {
            let _ = (size(&bytes), major(&bytes), refuses(8, &bytes));
            let _ = Options::read(text.split(' ').map(BStr::new));
        }
    }
}
