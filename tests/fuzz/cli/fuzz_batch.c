/* The lines of --batch: "ADDRESS PASSWORD-OR-HASH", "ADDRESS TARGET...". Whatever is in the file,
 * every line with words is asked of the backend or not taken, and words hold no blanks. */
#include "base/base.h"

#include "cli/admin.h"

#include <fcntl.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t asked;

/* ------------------------------------------------------ what the commands call of the rest of cli
 */

int cli_connect(const struct cli *c, enum cli_whom whom)
{
    check(whom == CLI_BACKEND);
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

int cli_status(const struct cli *c, const Thurn__Status *s)
{
    return CLI_FAILED;
}

static void is_word(ProtobufCBinaryData d)
{
    struct str word = pb_str(d);
    check(word.n > 0 && str_find_byte(word, ' ', 0) == word.n);
}

int cli_ask(int fd, uint16_t type, const ProtobufCMessage *m,
            bool (*each)(struct frame *f, void *arg), void *arg)
{
    check(fd >= 0 && protobuf_c_message_check(m));
    if (type == RPC_ADMIN_ACCOUNT_ADD) {
        const Thurn__AdminAccountAdd *add = (const void *)m;
        is_word(add->address);
        check(add->password.len > 0);
    } else {
        const Thurn__AdminAliasAdd *alias = (const void *)m;
        is_word(alias->address);
        for (size_t i = 0; i < alias->n_targets && i + 2 < ADMIN_WORDS; i++)
            is_word(alias->targets[i]);
    }
    asked++;
    return CLI_FAILED;
}

/* ----------------------------------------------------------------------------------------- target
 */

static size_t lines_with_words(struct str file)
{
    size_t n = 0;
    while (file.n) {
        size_t end = str_find_byte(file, '\n', 0);
        struct str line = str_sub(file, 0, end);
        n += str_trim(str_sub(line, 0, str_find_byte(line, 0, 0))).n > 0;
        file = str_skip(file, MIN(end + 1, file.n));
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("batch", MFD_CLOEXEC);
    char path[64];
    struct cli c = {.batch = path};
    FILE *complaints = stderr;
    static FILE *nowhere;
    if (!nowhere)
        nowhere = fopen("/dev/null", "we");
    check(nowhere && fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    size_t lines = lines_with_words(str_of(data, size));
    int expected = lines ? CLI_FAILED : CLI_OK;
    stderr = nowhere;
    asked = 0;
    check(cli_account_add(&c) == expected && asked <= lines);
    asked = 0;
    check(cli_alias_add(&c) == expected && asked == lines);
    stderr = complaints;
    (void)close(fd);
    return 0;
}
