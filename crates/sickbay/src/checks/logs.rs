//! What the kernel said: out of memory, stuck, failing, full.

pub mod address_conflict;
pub mod boot_stopped;
pub mod clock_unstable;
pub mod conntrack_full;
pub mod cpu_lockup;
pub mod file_max_reached;
pub mod file_system_errors;
pub mod firewall_drops;
pub mod fork_rejected;
pub mod hardware_errors;
pub mod hung_task;
pub mod io_errors;
pub mod jvm_crashed;
pub mod jvm_out_of_memory;
pub mod kernel_panic;
pub mod log_of_another_machine;
pub mod memory_daemon_killed;
pub mod neighbour_table_full;
pub mod network_card_hangs;
pub mod nfs_server_silent;
pub mod oom_killer;
pub mod page_allocation_failure;
pub mod ping_stalls;
pub mod process_crashes;
pub mod rcu_stall;
pub mod service_faults;
pub mod syn_flood;
pub mod tcp_limit_reached;
pub mod time_wait_overflow;
pub mod traced_failure;
pub mod vmalloc_failed;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &oom_killer::CHECK,
    &boot_stopped::CHECK,
    &log_of_another_machine::CHECK,
    &kernel_panic::CHECK,
    &io_errors::CHECK,
    &file_system_errors::CHECK,
    &hardware_errors::CHECK,
    &network_card_hangs::CHECK,
    &hung_task::CHECK,
    &cpu_lockup::CHECK,
    &rcu_stall::CHECK,
    &clock_unstable::CHECK,
    &process_crashes::CHECK,
    &page_allocation_failure::CHECK,
    &vmalloc_failed::CHECK,
    &fork_rejected::CHECK,
    &file_max_reached::CHECK,
    &conntrack_full::CHECK,
    &time_wait_overflow::CHECK,
    &syn_flood::CHECK,
    &tcp_limit_reached::CHECK,
    &neighbour_table_full::CHECK,
    &address_conflict::CHECK,
    &firewall_drops::CHECK,
    &service_faults::CHECK,
    &jvm_out_of_memory::CHECK,
    &jvm_crashed::CHECK,
    &traced_failure::CHECK,
    &ping_stalls::CHECK,
    &nfs_server_silent::CHECK,
    &memory_daemon_killed::CHECK,
];
