/* bare-loop: the smallest KVM program that runs this project's guests, and the lower bound for
   the supervisor: its cost for a guest is the cost of the host's KVM.

     gcc -O2 -o bare-loop bare-loop.c
     bare-loop [-m MIB] [-o direct|buffer|swallow] [-c] [-s STEPS [-r]] GUEST

   -m MIB      guest RAM, 2 to 1024 MiB, an even number (default 64)
   -o HOW      how bytes sent to COM1 are written: a write(2) for each one, one write(2) for each
               line or 64 KiB (the default), or nothing
   -c          coalesced port I/O: KVM collects the bytes for COM1 in a ring, which the loop reads at
               the next exit, instead of an exit for each byte
   -s STEPS    single-steps the guest this many times, and then ends
   -r          reads the general registers after each step

   The guest is an ELF64 file linked at fixed addresses between 64 KiB and the end of RAM. It starts
   in 64-bit mode at CPL 0 with RAM identity-mapped and a stack below 64 KiB. Port 0x3F8 takes
   output, every port reads as 0xFF. There are no start info, no descriptor tables beyond the code
   segment, and no devices.

   The guest's end is the exit status, with the supervisor's numbers: 0 for hlt, (v << 1) | 1 for
   v written to port 0xF4, 8 for a triple fault, 10 for an instruction the host refuses; 2 if the
   guest could not be run. A line on standard error has the times and counts:

     setup 0.412 ms, first byte 0.487 ms, run 8012.310 ms, exits 1000001, bytes 1000000, 124808 exits/s, rax 0

   "setup" and "first byte" count from the start of main, "run" is the time between the first
   KVM_RUN and the guest's end. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4 };
enum { TRIPLE_FAULT = 8, HOST_REFUSED = 10, NOT_RUN = 2 };

/* Where the loop's own structures are in guest RAM. */
enum { GDT = 0x500, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, STACK_TOP = 0x10000 };

enum { PAGE_PRESENT = 1, PAGE_WRITABLE = 2, PAGE_LARGE = 0x80 };

static const uint64_t CODE_DESCRIPTOR = 0x00af9b000000ffff; /* 64-bit code, ring 0, accessed */

enum output { DIRECT, BUFFER, SWALLOW };

static struct {
    uint64_t ram_size;
    enum output output;
    int coalesced;
    unsigned long steps;
    int read_registers;
    const char *guest;
} settings = { .ram_size = 64ull << 20, .output = BUFFER };

static struct {
    uint64_t exits, bytes, steps;
    double start, first_byte;
} counts;

static char pending[64 << 10];
static size_t pending_length;

static double milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void fail(const char *what)
{
    fprintf(stderr, "bare-loop: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(NOT_RUN);
}

static int checked(int result, const char *what)
{
    if (result < 0)
        fail(what);
    return result;
}

static void write_out(const char *bytes, size_t length)
{
    while (length) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            fail("standard output");
        bytes += written;
        length -= written;
    }
}

static void flush(void)
{
    write_out(pending, pending_length);
    pending_length = 0;
}

static void send(char byte)
{
    if (!counts.bytes++)
        counts.first_byte = milliseconds();
    if (settings.output == SWALLOW)
        return;
    pending[pending_length++] = byte;
    if (settings.output == DIRECT || byte == '\n' || pending_length == sizeof pending)
        flush();
}

static void usage(void)
{
    fprintf(stderr,
            "Use: bare-loop [-m MIB] [-o direct|buffer|swallow] [-c] [-s STEPS [-r]] GUEST\n");
    exit(NOT_RUN);
}

static void parse(int argc, char **argv)
{
    static const char *const outputs[] = { "direct", "buffer", "swallow" };
    int option;
    while ((option = getopt(argc, argv, "m:o:cs:r")) != -1) {
        if (option == 'm') {
            unsigned long mib = strtoul(optarg, NULL, 10);
            if (mib < 2 || mib > 1024 || mib % 2)
                usage();
            settings.ram_size = (uint64_t)mib << 20;
        } else if (option == 'o') {
            int how = DIRECT;
            while (how <= SWALLOW && strcmp(optarg, outputs[how]))
                how++;
            if (how > SWALLOW)
                usage();
            settings.output = how;
        } else if (option == 'c') {
            settings.coalesced = 1;
        } else if (option == 's') {
            settings.steps = strtoul(optarg, NULL, 10);
            if (!settings.steps)
                usage();
        } else if (option == 'r') {
            settings.read_registers = 1;
        } else {
            usage();
        }
    }
    if (optind != argc - 1)
        usage();
    settings.guest = argv[optind];
}

/* Copies the guest's segments to their physical addresses; returns its entry point. */
static uint64_t load(uint8_t *ram)
{
    Elf64_Ehdr header;
    int file = checked(open(settings.guest, O_RDONLY | O_CLOEXEC), settings.guest);
    errno = 0;
    if (pread(file, &header, sizeof header, 0) != sizeof header ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_type != ET_EXEC || header.e_machine != EM_X86_64)
        fail("the guest is no ELF64 x86-64 file linked at fixed addresses");
    for (int i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        off_t place = header.e_phoff + (off_t)i * header.e_phentsize;
        if (pread(file, &segment, sizeof segment, place) != sizeof segment)
            fail("the guest's program header table is cut off");
        if (segment.p_type != PT_LOAD)
            continue;
        if (segment.p_paddr < STACK_TOP || segment.p_paddr > settings.ram_size ||
            segment.p_memsz > settings.ram_size - segment.p_paddr ||
            segment.p_filesz > segment.p_memsz)
            fail("a segment of the guest does not lie in RAM above 64 KiB");
        if (pread(file, ram + segment.p_paddr, segment.p_filesz, segment.p_offset) !=
            (ssize_t)segment.p_filesz)
            fail("a segment of the guest is cut off");
    }
    close(file);
    return header.e_entry;
}

/* Identity-maps RAM with 2 MiB pages and writes the one descriptor a guest starts with. */
static void write_tables(uint8_t *ram)
{
    uint64_t *pd = (uint64_t *)(ram + PD);
    *(uint64_t *)(ram + PML4) = PDPT | PAGE_PRESENT | PAGE_WRITABLE;
    *(uint64_t *)(ram + PDPT) = PD | PAGE_PRESENT | PAGE_WRITABLE;
    for (uint64_t page = 0; page < settings.ram_size >> 21; page++)
        pd[page] = page << 21 | PAGE_PRESENT | PAGE_WRITABLE | PAGE_LARGE;
    *(uint64_t *)(ram + GDT + 8) = CODE_DESCRIPTOR;
}

/* Puts the vCPU into 64-bit mode at the guest's entry point (Intel SDM volume 3, chapter
   "Processor Management and Initialization", IA-32e mode). */
static void set_registers(int cpu, uint64_t entry)
{
    struct kvm_sregs system;
    checked(ioctl(cpu, KVM_GET_SREGS, &system), "KVM_GET_SREGS");
    struct kvm_segment code = { .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1,
                                .l = 1, .g = 1 };
    struct kvm_segment null = { .unusable = 1 };
    system.cs = code;
    system.ds = system.es = system.fs = system.gs = system.ss = null;
    system.gdt.base = GDT;
    system.gdt.limit = 15;
    system.idt.limit = 0;
    system.cr3 = PML4;
    system.cr4 = 0x20;       /* PAE */
    system.cr0 = 0x80000011; /* PG, ET, PE */
    system.efer = 0x500;     /* LMA, LME */
    checked(ioctl(cpu, KVM_SET_SREGS, &system), "KVM_SET_SREGS");

    struct kvm_regs general = { .rip = entry, .rflags = 2, .rsp = STACK_TOP };
    checked(ioctl(cpu, KVM_SET_REGS, &general), "KVM_SET_REGS");
}

static void set_cpuid(int kvm, int cpu)
{
    enum { ENTRIES = 256 };
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + ENTRIES * sizeof cpuid->entries[0]);
    if (!cpuid)
        fail("memory for CPUID");
    cpuid->nent = ENTRIES;
    checked(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
    checked(ioctl(cpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
    free(cpuid);
}

/* Takes what KVM has collected for COM1. */
static void drain(struct kvm_coalesced_mmio_ring *ring)
{
    const uint32_t slots =
        (sysconf(_SC_PAGESIZE) - sizeof *ring) / sizeof ring->coalesced_mmio[0];
    uint32_t first = ring->first;
    while (first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
        send(ring->coalesced_mmio[first].data[0]);
        first = (first + 1) % slots;
        __atomic_store_n(&ring->first, first, __ATOMIC_RELEASE);
    }
}

/* Answers a port access. Returns the exit status if that ends the guest, else -1. */
static int port_access(struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    size_t length = (size_t)run->io.size * run->io.count;
    if (run->io.direction == KVM_EXIT_IO_IN)
        memset(data, 0xff, length);
    else if (run->io.port == COM1)
        for (size_t i = 0; i < length; i++)
            send(data[i]);
    else if (run->io.port == DEBUG_EXIT)
        return (data[0] << 1 | 1) & 0xff;
    return -1;
}

/* Has the vCPU stop after every instruction. */
static void single_step(int cpu)
{
    struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
    checked(ioctl(cpu, KVM_SET_GUEST_DEBUG, &debug), "KVM_SET_GUEST_DEBUG");
}

/* Takes note of a step. Returns the exit status if it was the last, else -1. */
static int stepped(int cpu)
{
    if (settings.read_registers) {
        struct kvm_regs general;
        checked(ioctl(cpu, KVM_GET_REGS, &general), "KVM_GET_REGS");
    }
    return ++counts.steps == settings.steps ? 0 : -1;
}

/* Runs the guest to its end; returns the exit status. */
static int run_guest(int cpu, struct kvm_run *run, struct kvm_coalesced_mmio_ring *ring)
{
    for (;;) {
        if (ioctl(cpu, KVM_RUN, 0) < 0 && errno != EINTR)
            fail("KVM_RUN");
        counts.exits++;
        if (ring)
            drain(ring);
        int status = -1;
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            status = port_access(run);
            break;
        case KVM_EXIT_INTR:
            break;
        case KVM_EXIT_DEBUG:
            status = stepped(cpu);
            break;
        case KVM_EXIT_HLT:
            status = 0;
            break;
        case KVM_EXIT_SHUTDOWN:
            status = TRIPLE_FAULT;
            break;
        case KVM_EXIT_INTERNAL_ERROR:
            status = HOST_REFUSED;
            break;
        default:
            fprintf(stderr, "bare-loop: KVM exit reason %u\n", run->exit_reason);
            status = NOT_RUN;
        }
        if (status >= 0)
            return status;
    }
}

int main(int argc, char **argv)
{
    counts.start = milliseconds();
    parse(argc, argv);

    int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    int vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    uint8_t *ram = mmap(NULL, settings.ram_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED)
        fail("guest RAM");
    struct kvm_userspace_memory_region slot = { .memory_size = settings.ram_size,
                                                .userspace_addr = (uintptr_t)ram };
    checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");

    write_tables(ram);
    uint64_t entry = load(ram);

    if (settings.coalesced) {
        struct kvm_coalesced_mmio_zone zone = { .addr = COM1, .size = 1, .pio = 1 };
        checked(ioctl(vm, KVM_REGISTER_COALESCED_MMIO, &zone), "KVM_REGISTER_COALESCED_MMIO");
    }
    int cpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    set_cpuid(kvm, cpu);
    set_registers(cpu, entry);
    int size = checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED)
        fail("kvm_run");
    struct kvm_coalesced_mmio_ring *ring = NULL;
    if (settings.coalesced) {
        /* The ring lies this many pages into the vCPU's mapping. */
        int page = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
        errno = 0;
        if (page <= 0)
            fail("this host has no coalesced port I/O");
        ring = (void *)((char *)run + (size_t)page * sysconf(_SC_PAGESIZE));
    }

    if (settings.steps)
        single_step(cpu);

    double running = milliseconds();
    int status = run_guest(cpu, run, ring);
    double end = milliseconds();
    flush();

    struct kvm_regs result;
    checked(ioctl(cpu, KVM_GET_REGS, &result), "KVM_GET_REGS");
    fprintf(stderr,
            "setup %.3f ms, first byte %.3f ms, run %.3f ms, exits %llu, bytes %llu, "
            "%.0f exits/s, rax %llu\n",
            running - counts.start, counts.bytes ? counts.first_byte - counts.start : 0.0,
            end - running, (unsigned long long)counts.exits, (unsigned long long)counts.bytes,
            counts.exits / (end - running) * 1e3, (unsigned long long)result.rax);
    return status;
}
