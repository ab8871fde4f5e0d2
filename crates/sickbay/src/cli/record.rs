//! `sickbay record`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sickbay_target::{Moment, PingLog, RECORDINGS, Root, Wakeups, Woken, stand_back};

use super::{Context, Failure, complain, duration};
use crate::facts::time::local_zone;
use crate::model::text::Text;
use crate::report::text::printable;
use crate::sample::Sampler;
use crate::sample::asked;
use crate::sample::ring::{Caps, Kept, Meta, Recorder};
use crate::tr;

/// Record what this machine does, so that `check --at` can tell later what was wrong
///
/// It reads the kernel's counters every second, and all threads as often as that is cheap; more, and at once, when threads wait. That
/// takes less than 1 % of a CPU and some megabytes a day. The oldest is dropped, and it can be killed at any moment.
///
/// SIGTERM and SIGINT end it. `packaging/` has a unit for systemd and scripts for OpenRC and System V init.
#[derive(Debug, clap::Args)]
pub(super) struct Record {
    /// Directory to record to; created if it does not exist
    #[arg(long, value_name = "DIR", default_value = RECORDINGS)]
    dir: PathBuf,
    /// The time between two samples, on the average: 0.1s to 60s
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: String,
    /// Stop after this long: 10s, 2m, 1h [default: never]
    #[arg(long = "for", value_name = "TIME")]
    time: Option<String>,
    /// Drop samples that are older: 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    keep: String,
    /// Drop the oldest when the recording gets larger: 200M, 1G; at least 4M
    #[arg(long, value_name = "SIZE", default_value = "200M")]
    max: String,
    /// Also ping this address, or `gateway`, four times a second on the average: `check` tells stalls, loss and queues apart
    #[arg(long, value_name = "ADDRESS")]
    ping: Option<String>,
}

/// How often it is looked whether anything happens.
const GLIMPSE: Duration = Duration::from_millis(100);

/// A sample that was not to be yet is taken no sooner than so long after the one before.
const SOON: Duration = Duration::from_millis(150);

/// Kernel parameters of which it is noted who writes them: they change how the machine does what it does.
const PARAMETERS: &[&str] = &[
    "fs/aio-max-nr",
    "fs/file-max",
    "fs/inotify/max_user_watches",
    "fs/nr_open",
    "kernel/numa_balancing",
    "kernel/pid_max",
    "kernel/sched_rt_runtime_us",
    "kernel/sysrq",
    "kernel/threads-max",
    "net/core/default_qdisc",
    "net/core/netdev_budget",
    "net/core/netdev_max_backlog",
    "net/core/optmem_max",
    "net/core/rmem_default",
    "net/core/rmem_max",
    "net/core/rps_sock_flow_entries",
    "net/core/somaxconn",
    "net/core/wmem_default",
    "net/core/wmem_max",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_keepalive_time",
    "net/ipv4/tcp_max_orphans",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_mem",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_wmem",
    "net/ipv6/conf/all/disable_ipv6",
    "net/netfilter/nf_conntrack_max",
    "vm/dirty_background_bytes",
    "vm/dirty_background_ratio",
    "vm/dirty_bytes",
    "vm/dirty_ratio",
    "vm/drop_caches",
    "vm/max_map_count",
    "vm/min_free_kbytes",
    "vm/nr_hugepages",
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
    "vm/swappiness",
    "vm/watermark_scale_factor",
    "vm/zone_reclaim_mode",
];

impl Record {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let every = duration(&self.every)?;
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&every) {
            return Err(Failure(tr!("--every is a time from 0.1s to 60s")));
        }
        let length = self.time.as_deref().map(duration).transpose()?;
        let keep = asked::time(&self.keep).filter(|keep| *keep >= Duration::from_secs(60));
        let keep = keep.ok_or_else(|| {
            Failure(tr!("{text} is not a time to keep it: 12h, 7d, a minute at least", text = self.keep.as_str()))
        })?;
        let max = bytes(&self.max).filter(|max| *max >= 4 << 20);
        let max =
            max.ok_or_else(|| Failure(tr!("{text} is not a size: 200M, 1G, 4M at least", text = self.max.as_str())))?;
        let root = Root::host()?;
        let recorder = Recorder::start(&self.dir, Caps { keep, max }, meta(&root));
        let recorder = recorder.map_err(|error| Failure(error.text(&self.dir)))?;
        // Before this process stands back: what waits for the processor itself would tell of nothing else.
        if let Some(whom) = &self.ping {
            start_ping(whom, &self.dir, max)?;
        }
        let wakeups = Wakeups::new(PARAMETERS)
            .map_err(|error| Failure(tr!("cannot wait for signals: {error}", error = error.to_string())))?;
        stand_back();
        let sampler = Sampler::new(&root, every).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        Session { context, dir: &self.dir, recorder, wakeups, sampler }.go_on(length)
    }
}

/// Of the room of a recording so much is for pings: an eighth.
const SHARE_OF_PINGS: u64 = 8;

fn start_ping(whom: &str, dir: &Path, max: u64) -> Result<(), Failure> {
    let address = match whom {
        "gateway" => sickbay_target::default_gateway()
            .ok_or_else(|| Failure(tr!("there is no default route through a gateway: give its address to --ping")))?,
        text => {
            text.parse().map_err(|_| Failure(tr!("{text} is no address: --ping 10.0.0.1, or --ping gateway", text)))?
        }
    };
    PingLog::start(address, dir, max / SHARE_OF_PINGS).map_err(|error| {
        let (address, told) = (address.to_string(), error.to_string());
        Failure(match error.kind() {
            std::io::ErrorKind::PermissionDenied => tr!(
                "cannot ping {address}: {error}; it takes CAP_NET_RAW, or a group in net.ipv4.ping_group_range",
                address,
                error = told
            ),
            _ => tr!("cannot ping {address}: {error}", address, error = told),
        })
    })
}

struct Session<'s, 'r> {
    context: &'s Context,
    dir: &'s Path,
    recorder: Recorder,
    wakeups: Wakeups,
    sampler: Sampler<'r>,
}

impl Session<'_, '_> {
    fn go_on(mut self, length: Option<Duration>) -> Result<u8, Failure> {
        let began = Instant::now();
        let end = length.map(|length| began + length);
        let (mut next, mut glimpse, mut last) = (began, began + GLIMPSE, None);
        loop {
            let until = end.unwrap_or(next).min(next).min(glimpse);
            let woken = self.wakeups.wait(until);
            let now = Instant::now();
            let is_over = woken == Woken::Ended || end.is_some_and(|end| now >= end);
            let mut is_urgent = false;
            if let Woken::Pressure(_) = woken {
                self.sampler.alarm(now);
                is_urgent = true;
            }
            if now >= glimpse {
                is_urgent |= self.sampler.glimpse(now);
                glimpse = now + GLIMPSE;
            }
            is_urgent &= last.is_none_or(|last| now.duration_since(last) >= SOON);
            if now >= next || is_urgent || is_over {
                let writes = self.wakeups.writes();
                let sample = self.sampler.sample(writes);
                self.keep(sample);
                last = Some(now);
                next = now + self.sampler.step();
            }
            if is_over {
                break;
            }
        }
        let dir = self.dir;
        self.recorder
            .end()
            .map_err(|error| Failure(tr!("cannot record to {dir}: {error}", dir, error = error.to_string())))?;
        Ok(0)
    }

    fn keep(&mut self, sample: crate::sample::Sample) {
        let dir = self.dir;
        let told = match self.recorder.add(sample) {
            Kept::Yes | Kept::No(None) => return,
            Kept::No(Some(error)) => {
                tr!("nothing is recorded any more, until there is room: {dir}: {error}", dir, error = error.to_string())
            }
            Kept::Again(lost) => {
                tr!("there is room again in {dir}: {lost} {lost?sample was|samples were} lost", dir, lost)
            }
        };
        complain(&format!("sickbay: {}\n", printable(&told.render(self.context.style.lang))));
    }
}

/// What a recording tells of this machine.
fn meta(root: &Root) -> Meta {
    let read = |file: &str| {
        let text = root.read_up_to(Path::new("/proc/sys/kernel").join(file), 4096).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    let began = Moment::now().wall;
    let now = asked::timestamp(began).unwrap_or(Timestamp::UNIX_EPOCH);
    Meta {
        name: read("hostname"),
        release: read("osrelease"),
        boot: read("random/boot_id"),
        offset: local_zone().to_offset(now).seconds(),
        began,
    }
}

/// `200M`, `1G`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches(['B', 'b']).trim_end_matches(['I', 'i']);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(
            (bytes("200M"), bytes("1GiB"), bytes("4096"), bytes("5kb")),
            (Some(200 << 20), Some(1 << 30), Some(4096), Some(5120))
        );
        for wrong in ["", "M", "-1M", "1.5G", "99999999999G", "1X"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
