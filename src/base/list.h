/* Intrusive doubly linked ring: a head, and a link inside each member. */
#ifndef THURN_BASE_LIST_H
#define THURN_BASE_LIST_H

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
/* True for an empty head, and for a link that is in no list. */
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link; // NOLINT(clang-analyzer-core.NullDereference): a head is initialized
    head->prev = link;
}
static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}
/* Takes it out of its list; harmless for a link that is in none. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}
/* The first link, taken out; NULL if empty. */
static inline struct list *list_pop(struct list *head)
{
    if (list_empty(head))
        return NULL;
    struct list *l = head->next;
    list_remove(l);
    return l;
}
/* Puts all that is in `from` at the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
/* `l` may be removed in the body. */
#define list_each(l, head)                                                                         \
    for (struct list *l = (head)->next, *l##_next = l->next; l != (head);                          \
         l = l##_next, l##_next = l->next)

#endif
