/* An address as people write it. What is taken has one form, which is taken again as it stands, and
 * holds nothing that a key of the index or a line of text could not hold. */
#include "directory/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_plain(struct str text)
{
    check(str_is_utf8(text));
    for (size_t i = 0; i < text.n; i++)
        check(text.p[i] >= ' ' && text.p[i] != 0x7F && text.p[i] == byte_lower(text.p[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_of(data, size);
    struct dir_address a, again;
    uint8_t text[ADDRESS_MAX], text_again[ADDRESS_MAX];
    if (dir_address_parse(input, &a).code != E_OK)
        return 0;
    check(a.local_n > 0 && a.local_n <= LOCAL_MAX && a.domain.n > 0 && a.domain.n <= DOMAIN_MAX);
    struct str form = dir_address_text(&a, text);
    is_plain(form);
    check(str_ieq(form, input));
    check(dir_address_parse(form, &again).code == E_OK);
    check(str_eq(dir_address_text(&again, text_again), form));
    const struct dir_key key = dir_key_account(&a);
    check(str_find_byte(dir_key_str(&key), 1, 0) == 1 + a.domain.n);
    return 0;
}
