/* The keys of TLS tickets, which go through JSON as a parent becomes another program: no copy of
 * them is left in memory that was freed, where they would outlast their time. */
#include "cm.h"
#include "parent/handover.h"
#include "parent/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SAMPLE = 32 }; /* bytes of a key that are not there by chance */

static unsigned char key_byte(size_t i)
{
    return (unsigned char)(i * 73 + 29);
}

static void begin(struct parent *p)
{
    struct err err;

    parent_init(p);
    p->loop = loop_new(&err);
    assert_non_null(p->loop);
    channels_init(&p->channels, p->loop);
}

static void fill(struct parent *p)
{
    unsigned char *keys = &p->tickets.keys[0][0];

    begin(p);
    p->tally = tally_new();
    p->program = strdup("/usr/sbin/usher");
    p->conf_path = strdup("/etc/usher/usher.conf");
    p->current = generation_new(p);
    assert_true(p->tally && p->program && p->conf_path && p->current);
    for (size_t i = 0; i < sizeof p->tickets.keys; i++)
        keys[i] = key_byte(i);
}

static void end(struct parent *p)
{
    parent_free(p);
    loop_free(&p->loop);
}

/* Whether the digits of a key's middle are here; compared one by one, so that this test itself has
 * no copy of them. */
static bool is_at(const char *p)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SAMPLE; i++) {
        const unsigned char byte = key_byte(TICKET_KEY + 8 + i);

        if (p[2 * i] != digits[byte >> 4] || p[2 * i + 1] != digits[byte & 15])
            return false;
    }
    return true;
}

/* In the heap, as the kernel sees it: a sanitizer, which has one of its own elsewhere, forbids to
 * look at what was freed. */
static unsigned copies_in_heap(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char line[512] = "", *heap;
    unsigned long from = 0, to = 0;
    unsigned n = 0;

    assert_true(maps && mem >= 0);
    while (!strstr(line, "[heap]") && fgets(line, sizeof line, maps))
        ;
    fclose(maps);
    if (strstr(line, "[heap]") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
        heap = mmap(NULL, to - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(heap != MAP_FAILED);
        assert_int_equal(pread(mem, heap, to - from, (off_t)from), to - from);
        for (size_t i = 0; i + 2 * SAMPLE <= to - from; i++)
            n += is_at(heap + i);
        munmap(heap, to - from);
    }
    close(mem);
    return n;
}

static void test_what_is_handed_over_leaves_no_keys_behind(void **state)
{
    struct parent old, new;
    struct err err;
    char *text;
    off_t size;
    int fd;

    (void)state;
    fill(&old);
    assert_int_equal(handover_print(&old, &fd, &err), 0);
    assert_int_equal(copies_in_heap(), 0);
    size = lseek(fd, 0, SEEK_END);
    text = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(text != MAP_FAILED);
    begin(&new);
    if (handover_read(&new, slice_of(text, (size_t)size), true, &err) < 0)
        fail_msg("%s", err.text);
    assert_memory_equal(new.tickets.keys, old.tickets.keys, sizeof old.tickets.keys);
    assert_int_equal(copies_in_heap(), 0);
    munmap(text, (size_t)size);
    close(fd);
    end(&old);
    end(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_handed_over_leaves_no_keys_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
