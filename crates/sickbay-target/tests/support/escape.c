/* Tries to leave the sandbox of the target's programs by every way that is known. Each that leads anywhere prints a line that
 * begins with "OUT"; the last line says that all were tried. $1 is the path of a file of the helper that must not be found,
 * or "fill" or "forks" for a program that takes all that it gets. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif

static const char *wanted; /* a path of the helper, from its root */

static void out(const char *way) { printf("OUT %s (%s)\n", way, strerror(errno)); fflush(stdout); }

static int seen_from(const char *prefix) {
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s%s", prefix, wanted);
    return stat(path, &st) == 0;
}

static void second_chroot(void) {
    int before = open(".", O_RDONLY | O_DIRECTORY);
    mkdir("/tmp/jail", 0755);
    if (chroot("/tmp/jail") == 0) out("a second chroot is allowed");
    if (before >= 0) (void)!fchdir(before);
    for (int n = 0; n < 300; n++) (void)!chdir("..");
    if (seen_from(".")) out("chdir upwards");
    (void)!chroot(".");
    if (seen_from("/") || seen_from("")) out("chroot of what is above");
    (void)!chdir("/");
}

static void processes(void) {
    char path[600];
    DIR *dir = opendir("/proc");
    struct dirent *one;
    while (dir && (one = readdir(dir))) {
        if (one->d_name[0] < '0' || one->d_name[0] > '9') continue;
        for (const char *const *kind = (const char *const[]){"root", "cwd", NULL}; *kind; kind++) {
            snprintf(path, sizeof path, "/proc/%s/%s", one->d_name, *kind);
            if (seen_from(path)) out(path);
        }
        if (atoi(one->d_name) > 64) out("a process that is none of ours");
    }
}

static void descriptors(void) {
    for (int fd = 3; fd < 1024; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0) out("a descriptor was inherited");
    }
    if (open("/dev/tty", O_RDWR) >= 0) out("a terminal");
}

static void devices(void) {
    /* Whatever the helper's root lies on, and its disks of every kind. */
    int majors[] = {7, 8, 9, 202, 252, 253, 254, 259};
    char path[64], byte;
    for (unsigned n = 0; n < sizeof majors / sizeof *majors; n++) {
        snprintf(path, sizeof path, "/tmp/node%u", n);
        if (mknod(path, S_IFBLK | 0600, makedev(majors[n], 0)) == 0) out("a block device was made");
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && read(fd, &byte, 1) == 1) out("a block device was read");
    }
    if (mknodat(AT_FDCWD, "/tmp/kmem", S_IFCHR | 0600, makedev(1, 1)) == 0) out("a character device was made");
}

static void handles(void) {
    struct { struct file_handle head; unsigned char bytes[128]; } handle;
    int mount_id;
    memset(&handle, 0, sizeof handle);
    handle.head.handle_bytes = 128;
    if (name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount_id, 0) == 0) out("a handle was told");
    /* Inode 2 of an ext4 on which the copy lies: the shocker of containers. */
    handle.head.handle_bytes = 8;
    handle.head.handle_type = 1;
    memset(handle.bytes, 0, sizeof handle.bytes);
    handle.bytes[0] = 2;
    const char *places[] = {"/", "/etc", "/usr", "/dev/null", "/proc/self/exe", NULL};
    for (const char **place = places; *place; place++) {
        int at = open(*place, O_RDONLY);
        if (at >= 0 && open_by_handle_at(at, &handle.head, O_RDONLY) >= 0) out("a file by its handle");
        close(at);
    }
}

static void namespaces(void) {
    const char *kinds[] = {"mnt", "pid", "net", "uts", "ipc", "user", "cgroup", NULL};
    char path[64];
    for (const char **kind = kinds; *kind; kind++) {
        snprintf(path, sizeof path, "/proc/1/ns/%s", *kind);
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && setns(fd, 0) == 0) out(path);
        close(fd);
    }
    int flags[] = {CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS};
    for (unsigned n = 0; n < sizeof flags / sizeof *flags; n++) {
        if (unshare(flags[n]) == 0) out("a new namespace by unshare");
        int child = syscall(SYS_clone, flags[n] | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        if (child > 0) out("a new namespace by clone");
    }
}

static void mounts(void) {
    if (mount("none", "/tmp", "tmpfs", 0, NULL) == 0) out("mount");
    if (mount("proc", "/tmp", "proc", 0, NULL) == 0) out("mount of proc");
    if (mount(NULL, "/proc", NULL, MS_REMOUNT | MS_BIND, NULL) == 0) out("remount of proc");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0) out("remount with devices");
    if (umount2("/proc", MNT_DETACH) == 0) out("umount");
    if (umount2("/", MNT_DETACH) == 0) out("umount of the root");
    if (syscall(SYS_pivot_root, ".", ".") == 0) out("pivot_root");
    if (syscall(428, AT_FDCWD, "/", 1) >= 0) out("open_tree");
    if (syscall(430, "tmpfs", 0) >= 0) out("fsopen");
    if (access("/proc/sysrq-trigger", W_OK) == 0) out("sysrq");
    int fd = open("/proc/sys/kernel/core_pattern", O_WRONLY);
    if (fd >= 0) out("a sysctl");
    fd = open("/sys/kernel/uevent_helper", O_WRONLY);
    if (fd >= 0) out("a file of sysfs");
    /* Every mount that is left is one of the copy's. */
    FILE *table = fopen("/proc/self/mountinfo", "r");
    char line[4096], place[4096];
    if (!table) out("no mountinfo");
    while (table && fgets(line, sizeof line, table)) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", place) != 1) continue;
        if (strcmp(place, "/") && strncmp(place, "/dev", 4) && strncmp(place, "/proc", 5) && strncmp(place, "/sys", 4) &&
            strncmp(place, "/run", 4) && strncmp(place, "/boot", 5)) {
            printf("OUT mount %s\n", place);
        }
    }
}

static void kernel(void) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0) out("ptrace");
    if (syscall(SYS_process_vm_readv, getppid(), 0, 0, 0, 0, 0) >= 0) out("process_vm_readv");
    if (syscall(SYS_bpf, 0, 0, 0) >= 0 || errno != EPERM) out("bpf");
    if (syscall(SYS_kexec_load, 0, 0, 0, 0) >= 0 || errno != EPERM) out("kexec_load");
    if (syscall(SYS_init_module, 0, 0, "") >= 0 || errno != EPERM) out("init_module");
    if (syscall(SYS_keyctl, 0, -3, 0) >= 0) out("keyctl");
    if (syscall(SYS_perf_event_open, 0, 0, 0, 0, 0) >= 0 || errno != EPERM) out("perf_event_open");
    if (syscall(425, 1, 0) >= 0 || errno != EPERM) out("io_uring_setup");
    if (syscall(SYS_reboot, 0, 0, 0, 0) >= 0 || errno != EPERM) out("reboot");
    if (syscall(SYS_syslog, 3, (char[16]){0}, 16) >= 0) out("syslog");
    if (sethostname("x", 1) == 0) out("sethostname");
    if (ioctl(0, TIOCSTI, "x") == 0 || errno != EPERM) out("TIOCSTI");
    if (socket(AF_VSOCK, SOCK_STREAM, 0) >= 0) out("a socket to the hypervisor");
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) out("new privileges");
    if (kill(-1, 0) == 0 && getpid() != 1) out("signals");
}

/* Writes until there is no room; tells how much there was. */
static void fill(void) {
    static char block[1 << 20];
    unsigned long long all = 0;
    char path[64];
    memset(block, 'x', sizeof block);
    for (int n = 0; n < 64; n++) {
        snprintf(path, sizeof path, "%s/fill%d", n % 3 == 0 ? "/run" : n % 3 == 1 ? "/dev" : "/var", n);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        ssize_t wrote;
        while (fd >= 0 && (wrote = write(fd, block, sizeof block)) > 0) all += wrote;
    }
    printf("filled %llu\n", all >> 20);
}

int main(int argc, char **argv) {
    wanted = argc > 1 ? argv[1] : "/nothing";
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGXFSZ, SIG_IGN);
    if (argc > 2) return second_chroot(), 0; /* only what harms nobody, where nothing holds it */
    if (!strcmp(wanted, "fill")) return fill(), 0;
    if (!strcmp(wanted, "forks")) for (;;) fork();
    descriptors();
    processes();
    handles();
    devices();
    namespaces();
    mounts();
    kernel();
    second_chroot();
    printf("tried\n");
    return 0;
}
