/* problem.c: errors of a spec, gathered while it is read and then shown in the order of its lines.
 *
 * The reader meets keys in an order of its own: what is missing, say, it knows only after all that is there.
 */
#include "reader.h"

#include <stdlib.h>

enum { SHOWN_LIMIT = 50, GATHERED_LIMIT = 1000 };

struct Problem {
    Problem *before;
    int number;
    bool of_option;
    Mark at, note_at;
    const char *message, *note;
};

__attribute__((format(printf, 2, 0))) static const char *print_message(Arena *a, const char *format,
                                                                       va_list values)
{
    char message[1024];
    vsnprintf(message, sizeof message, format, values);
    return arena_printf(a, "%s", message);
}

void problem(Reader *r, Mark at, const char *format, ...)
{
    if (r->problems >= GATHERED_LIMIT)
        return;
    va_list values;
    va_start(values, format);
    Problem *p = ARENA_NEW(r->arena, Problem);
    *p = (Problem){
        .before = r->latest, .number = r->problems++, .of_option = at.source != r->source, .at = at};
    p->message = print_message(r->arena, format, values);
    va_end(values);
    r->latest = p;
}

void problem_note(Reader *r, Mark at, const char *format, ...)
{
    if (r->problems >= GATHERED_LIMIT)
        return; /* the latest may not be the one meant */
    va_list values;
    va_start(values, format);
    r->latest->note_at = at;
    r->latest->note = print_message(r->arena, format, values);
    va_end(values);
}

static int compare(const void *left, const void *right)
{
    const Problem *a = *(Problem *const *)left, *b = *(Problem *const *)right;
    if (a->of_option != b->of_option)
        return a->of_option - b->of_option;
    if (!a->of_option && a->at.line != b->at.line)
        return a->at.line < b->at.line ? -1 : 1;
    if (!a->of_option && a->at.column != b->at.column)
        return a->at.column < b->at.column ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

void problems_show(const Reader *r, Diagnostics *d)
{
    if (r->problems == 0)
        return;
    Problem **sorted = ARENA_ARRAY(r->arena, Problem *, r->problems);
    for (Problem *p = r->latest; p; p = p->before)
        sorted[p->number] = p;
    qsort(sorted, (size_t)r->problems, sizeof(Problem *), compare);
    for (int i = 0; i < r->problems && i < SHOWN_LIMIT; i++) {
        diag_error(d, sorted[i]->at, "%s", sorted[i]->message);
        if (sorted[i]->note)
            diag_note(d, sorted[i]->note_at, "%s", sorted[i]->note);
    }
    if (r->problems > SHOWN_LIMIT)
        diag_note(d, (Mark){0}, "there are more errors than the %d shown", SHOWN_LIMIT);
}
