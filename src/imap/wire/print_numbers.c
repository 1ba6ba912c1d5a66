/* SEARCH results: "* SEARCH 2 5 6 (MODSEQ 91)" as RFC 3501 and RFC 7162 have it, and
 * "* ESEARCH (TAG "A1") UID ALL 2,5:6 COUNT 3" of RFC 4731. */
#include "imap/wire/wire.h"

static bool is_extended(const struct imap_command *cmd, uint32_t *out_returns)
{
    const Thurn__ImapSearch *search = (const void *)cmd->request;
    *out_returns = search ? search->returns : 0;
    return *out_returns != 0;
}

static void print_word(struct buf *out, const char *word, uint64_t value)
{
    buf_put(out, str_c(word));
    buf_decimal(out, value);
}

static void flush_range(struct imap_numbers *state, struct buf *out)
{
    if (state->first == 0)
        return;
    buf_put(out, state->ranges ? STR(",") : STR(" ALL "));
    buf_decimal(out, state->first);
    if (state->last > state->first)
        print_word(out, ":", state->last);
    state->ranges = true;
    state->first = 0;
}

static void add_number(struct imap_numbers *state, struct buf *out, uint32_t number)
{
    if (state->first && number == state->last + 1) {
        state->last = number;
        return;
    }
    flush_range(state, out);
    state->first = state->last = number;
}

static void begin(struct imap_numbers *state, struct buf *out, const struct imap_command *cmd,
                  bool extended)
{
    state->begun = true;
    if (!extended) {
        buf_put(out, STR("* SEARCH"));
        return;
    }
    buf_put(out, STR("* ESEARCH (TAG "));
    wire_print_string(out, cmd->tag);
    buf_put(out, cmd->uid ? STR(") UID") : STR(")"));
}

/* Behind the numbers: what is known at the end only. */
static void print_summary(struct imap_numbers *state, struct buf *out, uint32_t returns,
                          const Thurn__ImapNumbers *n)
{
    flush_range(state, out);
    if (returns & THURN__SEARCH_RETURN__RETURN_MIN && n->min)
        print_word(out, " MIN ", n->min);
    if (returns & THURN__SEARCH_RETURN__RETURN_MAX && n->max)
        print_word(out, " MAX ", n->max);
    if (returns & THURN__SEARCH_RETURN__RETURN_COUNT)
        print_word(out, " COUNT ", n->count);
    if (n->modseq)
        print_word(out, returns ? " MODSEQ " : " (MODSEQ ", n->modseq);
    if (n->modseq && !returns)
        buf_byte(out, ')');
}

void imap_print_numbers(struct imap_numbers *state, struct buf *out, const struct imap_command *cmd,
                        const Thurn__ImapNumbers *n)
{
    uint32_t returns;
    bool extended = is_extended(cmd, &returns);
    if (state->ended)
        return;
    if (!state->begun)
        begin(state, out, cmd, extended);
    for (size_t i = 0; i < n->n_numbers; i++) {
        if (n->numbers[i] <= state->skip)
            continue;
        state->told = n->numbers[i];
        if (extended)
            add_number(state, out, n->numbers[i]);
        else
            print_word(out, " ", n->numbers[i]);
    }
    if (!n->last)
        return;
    print_summary(state, out, returns, n);
    imap_end_numbers(state, out);
}

void imap_numbers_again(struct imap_numbers *state)
{
    state->skip = state->told;
}

void imap_end_numbers(struct imap_numbers *state, struct buf *out)
{
    if (!state->begun || state->ended)
        return;
    flush_range(state, out);
    buf_put(out, STR("\r\n"));
    state->ended = true;
}
