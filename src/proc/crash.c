/* Telling of a crash. All that the handler needs is gathered beforehand. */
#include "proc/crash.h"

#include "base/log.h"
#include "proc/build.h"

#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    OBJECTS = 32,       /* the program and its libraries */
    OBJECT_NAME = 32,   /* longer names are cut */
    FRAMES = 32,        /* the innermost */
    BUILD_ID = 32,      /* bytes */
    STACK = 128 * 1024, /* a signal's frame takes up to 11 KiB with the widest registers */
    WRITE_TRIES = 2,
    WRITE_WAIT_MS = 500
};

/* si_code of a system call that a filter trapped. The C library's headers may lack it. */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

/* Something that is mapped from a file. */
struct object {
    uintptr_t base, begin, end;
    char name[OBJECT_NAME]; /* "": the program */
};

/* How far the handler is. */
enum stage { STAGE_NONE, STAGE_FAULT, STAGE_FRAMES, STAGE_WRITE };

/* What the handler knows. Nobody can hand it anything else. */
static struct {
    const char *role;
    int fd;
    volatile sig_atomic_t stage; /* enum stage */
    int number;                  /* of the signal */
    size_t told;                 /* of the line, with the fault's place but no other frame */
    char build_id[BUILD_ID * 2 + 1];
    struct object objects[OBJECTS];
    size_t objects_n;
    const char *const *call_names;
    size_t call_names_n;
    struct line {
        char text[LOG_LINE];
        size_t n;
    } line;
    char stack[STACK];
} crash;

/* --- the line --------------------------------------------------------------------------------- */

/* The newline always has its place. */
static void put(const char *text)
{
    struct line *l = &crash.line;

    while (*text && l->n < sizeof l->text - 1)
        l->text[l->n++] = *text++;
}

/* At least `digits` of them. */
static void put_number(uint64_t value, unsigned base, unsigned digits)
{
    char text[24];
    char *at = text + sizeof text - 1;

    *at = '\0';
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
        digits -= digits > 0;
    } while (value > 0 || digits > 0);
    put(at);
}

static void put_key(const char *key)
{
    put(" ");
    put(key);
    put("=");
}

/* A day since 1970 as a date: Howard Hinnant's civil_from_days, for days that are not before. Years
 * begin in March, so that the leap day is a year's last; 719468 days lie before 1970 since
 * 0000-03-01; 146097 days are four centuries. */
static void put_date(uint64_t day)
{
    uint64_t z = day + 719468, era = z / 146097, of_era = z % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153; /* 0: March */

    put_number(year + era * 400 + (month >= 10), 10, 4);
    put("-");
    put_number(month < 10 ? month + 3 : month - 9, 10, 2);
    put("-");
    put_number(of_year - (153 * month + 2) / 5 + 1, 10, 2);
}

/* gmtime_r() and strftime() take locks. */
static void put_time(void)
{
    struct timespec now = {0};
    uint64_t second;

    clock_gettime(CLOCK_REALTIME, &now);
    second = (uint64_t)now.tv_sec;
    put_date(second / 86400);
    put("T");
    put_number(second / 3600 % 24, 10, 2);
    put(":");
    put_number(second / 60 % 60, 10, 2);
    put(":");
    put_number(second % 60, 10, 2);
    put(".");
    put_number((uint64_t)now.tv_nsec / 1000000, 10, 3);
    put("Z");
}

static void put_event(enum log_event event)
{
    crash.line.n = 0;
    put_time();
    put(" ");
    put(log_level_name(log_event_level(event)));
    put(" ");
    put(log_event_name(event));
    put_key("role");
    put(crash.role);
    put_key("pid");
    put_number((uint64_t)getpid(), 10, 1);
}

/* A log without a reader delays the end, but does not prevent it. */
static void write_line(void)
{
    struct line *l = &crash.line;
    size_t done = 0;

    l->text[l->n++] = '\n';
    for (int i = 0; i < WRITE_TRIES && done < l->n; i++) {
        struct pollfd pfd = {.fd = crash.fd, .events = POLLOUT};
        ssize_t n =
            poll(&pfd, 1, WRITE_WAIT_MS) > 0 ? write(crash.fd, l->text + done, l->n - done) : 0;

        if (n > 0)
            done += (size_t)n;
    }
}

/* --- places ----------------------------------------------------------------------------------- */

static uintptr_t fault_place(const ucontext_t *context)
{
#if defined __x86_64__
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined __aarch64__
    return (uintptr_t)context->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

static void put_place(uintptr_t place)
{
    for (size_t i = 0; i < crash.objects_n; i++) {
        const struct object *o = &crash.objects[i];

        if (place < o->begin || place >= o->end)
            continue;
        put(o->name);
        put(o->name[0] ? "+0x" : "0x");
        put_number(place - o->base, 16, 1);
        return;
    }
    put("?");
}

/* Those that led to the fault. */
static void put_callers(uintptr_t fault)
{
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES);
    int first = 0;

    /* Before the fault's own frame there are only those of the handler. */
    for (int i = 0; i < n && first == 0; i++)
        first = (uintptr_t)frames[i] == fault ? i + 1 : 0;
    for (int i = first; i < n; i++) {
        put(" ");
        put_place((uintptr_t)frames[i]);
    }
}

/* --- the handler ------------------------------------------------------------------------------ */

static const char *signal_name(int signal)
{
    static const struct {
        int signal;
        const char *name;
    } names[] = {
        {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"},
        {SIGFPE, "SIGFPE"},   {SIGABRT, "SIGABRT"}, {SIGSYS, "SIGSYS"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].signal == signal)
            return names[i].name;
    }
    return "unknown";
}

static void put_call(int number)
{
    const char *name = NULL;

    if (number >= 0 && (size_t)number < crash.call_names_n)
        name = crash.call_names[number];
    put_key("call");
    put(name ? name : "unknown");
    put_key("number");
    put_number((unsigned)number, 10, 1);
}

/* si_addr means something only if the kernel sent the signal, and not for all of them. */
static bool has_address(const siginfo_t *info)
{
    return info->si_code > 0 && (info->si_signo == SIGSEGV || info->si_signo == SIGBUS ||
                                 info->si_signo == SIGILL || info->si_signo == SIGFPE);
}

/* All but what the stack has to tell. */
static void put_fault(const siginfo_t *info, uintptr_t place)
{
    if (info->si_signo == SIGSYS && info->si_code == SYS_SECCOMP) {
        put_event(LOG_SANDBOX_VIOLATION);
        put_call(info->si_syscall);
    } else {
        put_event(LOG_CRASHED);
        put_key("signal");
        put(signal_name(info->si_signo));
        if (has_address(info)) {
            put_key("address");
            put("0x");
            put_number((uintptr_t)info->si_addr, 16, 1);
        }
    }
    if (crash.build_id[0]) {
        put_key("build_id");
        put(crash.build_id);
    }
    put_key("frames");
    put("\"");
    put_place(place);
}

static _Noreturn void die(int number)
{
    const struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t set;

    /* For the parent, whose limit on cores is the administrator's. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* SIGSYS has it since its handler was called: crash_begin(). */
    if (number != SIGSYS)
        sigaction(number, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

/* A second fault comes from within the first one's handler: most likely from the unwinder, which
 * reads a stack that may be broken. Then the line goes out with the fault's own place only. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t place = fault_place(context);

    if (crash.stage == STAGE_NONE) {
        crash.number = number;
        crash.stage = STAGE_FAULT;
        put_fault(info, place);
        crash.told = crash.line.n;
        crash.stage = STAGE_FRAMES;
        put_callers(place);
    } else if (crash.stage == STAGE_FRAMES) {
        crash.line.n = crash.told;
    } else {
        die(crash.number);
    }
    crash.stage = STAGE_WRITE;
    put("\"");
    write_line();
    die(crash.number);
}

/* --- beginning -------------------------------------------------------------------------------- */

static void put_build_id(const unsigned char *id, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char *at = crash.build_id;

    for (size_t i = 0; i < n && i < BUILD_ID; i++) {
        *at++ = digits[id[i] >> 4];
        *at++ = digits[id[i] & 15];
    }
    *at = '\0';
}

/* The notes of one segment: header, name, description, each padded to `align`. */
static void find_build_id(const unsigned char *at, size_t n, size_t align)
{
    while (n >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        const unsigned char *name = at + sizeof *note;
        size_t to_id = (sizeof *note + note->n_namesz + align - 1) & ~(align - 1);
        size_t size = (to_id + note->n_descsz + align - 1) & ~(align - 1);

        if (size > n)
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof ELF_NOTE_GNU &&
            memcmp(name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0)
            put_build_id(at + to_id, note->n_descsz);
        at += size;
        n -= size;
    }
}

/* The last part of a path, with letters that need no quotes in the log. */
static void take_name(struct object *o, const char *path)
{
    const char *slash = strrchr(path, '/');

    snprintf(o->name, sizeof o->name, "%s", slash ? slash + 1 : path);
    for (char *p = o->name; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("\"\\=", *p))
            *p = '_';
    }
}

static int take_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct object *o = &crash.objects[crash.objects_n];
    bool is_program = crash.objects_n == 0; /* it is the first that is told */

    (void)size;
    (void)arg;
    *o = (struct object){.base = info->dlpi_addr, .begin = UINTPTR_MAX};
    if (!is_program)
        take_name(o, info->dlpi_name);
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + ph->p_vaddr, end = begin + ph->p_memsz;

        if (ph->p_type == PT_NOTE && is_program)
            find_build_id((const void *)begin, ph->p_memsz, ph->p_align == 8 ? 8 : 4);
        if (ph->p_type != PT_LOAD)
            continue;
        o->begin = begin < o->begin ? begin : o->begin;
        o->end = end > o->end ? end : o->end;
    }
    return ++crash.objects_n == OBJECTS; /* enough */
}

/* SIGSYS once only: when the handler has told of it, the sandbox does not let it be changed. */
static void take_signal(int signal, struct sigaction action)
{
    if (signal == SIGSYS)
        action.sa_flags |= (int)SA_RESETHAND;
    sigaction(signal, &action, NULL);
}

void crash_begin(const char *role, int log_fd)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    const stack_t stack = {.ss_sp = crash.stack, .ss_size = sizeof crash.stack};
    void *frame[1];

    crash.role = role;
    crash.fd = log_fd;
    crash.objects_n = 0;
    /* The first call loads the unwinder's library. */
    (void)backtrace(frame, 1);
    dl_iterate_phdr(take_object, NULL);
    if (crash_build.has_own_stack && sigaltstack(&stack, NULL) == 0)
        action.sa_flags |= SA_ONSTACK;
    for (size_t i = 0; i < crash_build.signals_n; i++)
        take_signal(crash_build.signals[i], action);
}

void crash_call_names(const char *const *names, size_t n)
{
    crash.call_names = names;
    crash.call_names_n = n;
}

const char *crash_build_id(void)
{
    return crash.build_id;
}
