/* profile.c: where the time of a step goes: every operation, and sums by kind and implementation. */
#include "runtime.h"
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROWS = 64 };

/* ---- keeping time ---- */

void profile_new(Profile *p, size_t steps, Fault *f)
{
    *p = (Profile){.running = -1, .steps = steps, .fault = f};
}

void profile_free(Profile *p)
{
    for (int i = 0; i < p->rows; i++)
        free(p->row[i].seconds);
    free(p->row);
    *p = (Profile){.running = -1};
}

void profile_step(Profile *p, size_t step)
{
    p->step = step;
    p->running = -1;
    for (int i = 0; i < p->rows; i++) {
        p->row[i].seconds[step] = 0;
        p->row[i].runs = 0;
    }
}

static bool make_room(Profile *p)
{
    if (p->rows < p->capacity)
        return true;
    int capacity = p->capacity > 0 ? 2 * p->capacity : FIRST_ROWS;
    ProfileRow *row = realloc(p->row, (size_t)capacity * sizeof *row);
    if (row == NULL)
        return fault(p->fault, "out of memory for the profile");
    p->row = row;
    p->capacity = capacity;
    return true;
}

/* Returns the new row, or -1 where there is no memory for it. */
static int add_row(Profile *p, const AmdimOp *op)
{
    double *seconds =
        make_room(p) ? allocate_zero(p->steps * sizeof *seconds, "the profile", p->fault) : NULL;
    if (seconds == NULL) {
        p->failed = true;
        return -1;
    }
    p->row[p->rows] = (ProfileRow){.op = op, .seconds = seconds};
    return p->rows++;
}

/* Steps repeat themselves: most often it is the row behind the one that ran. */
static int row_of(Profile *p, const AmdimOp *op)
{
    for (int i = 1; i <= p->rows; i++) {
        int row = (p->running + i) % p->rows;
        if (p->row[row].op == op)
            return row;
    }
    return add_row(p, op);
}

void profile_resume(Profile *p, int row, double now)
{
    if (p->running >= 0)
        p->row[p->running].seconds[p->step] += now - p->since;
    p->running = row;
    p->since = now;
}

int profile_interrupt(Profile *p, const AmdimOp *op, double now)
{
    int interrupted = p->running, row = op ? row_of(p, op) : -1;
    if (row >= 0)
        p->row[row].runs++;
    profile_resume(p, row, now);
    return interrupted;
}

void profile_begin(Profile *p, const AmdimOp *op, double now)
{
    profile_interrupt(p, op, now);
}

/* ---- figures ---- */

typedef struct {
    double seconds, gflop; /* a step */
} Cost;

static Cost cost_of(const Profile *p, const ProfileRow *row, const ProfileScale *s)
{
    Cost cost = {.gflop = row->op->flop * row->runs / 1e9};
    for (size_t i = 0; i < p->steps; i++)
        cost.seconds += s->weight[i] * row->seconds[i];
    return cost;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double rate(Cost c)
{
    return ratio(c.gflop, c.seconds);
}

void profile_json(const Profile *p, const ProfileScale *s, FILE *stream)
{
    fputc('[', stream);
    for (int i = 0; i < p->rows; i++) {
        const AmdimOp *op = p->row[i].op;
        Cost c = cost_of(p, &p->row[i], s);
        fprintf(stream, "%s{\"name\": ", i ? ", " : "");
        json_text(stream, op->name);
        fprintf(stream, ", \"line\": %d, \"shape\": ", op->line);
        json_text(stream, op->shape);
        fputs(", \"implementation\": ", stream);
        json_text(stream, op->kernel);
        fprintf(stream,
                ", \"seconds\": %.9g, \"gflop\": %.9g, \"gflops\": %.9g, \"share\": %.9g, \"of_peak\": %.9g}",
                c.seconds, c.gflop, rate(c), ratio(c.seconds, s->seconds), ratio(rate(c), s->peak));
    }
    fputc(']', stream);
}

/* ---- tables ---- */

/* The names' columns are as wide as the longest name. */
typedef struct {
    int name, kernel;
} Widths;

static int widest(int width, const char *text)
{
    int length = (int)strlen(text);
    return length > width ? length : width;
}

static Widths widths_of(const Profile *p)
{
    Widths w = {(int)strlen("operation"), (int)strlen("implementation")};
    for (int i = 0; i < p->rows; i++) {
        w.name = widest(w.name, p->row[i].op->name);
        w.kernel = widest(w.kernel, p->row[i].op->kernel);
    }
    return w;
}

static const char figures_head[] = "        ms    share    GFLOP  GFLOP/s  of peak";

/* In columns below figures_head, to the line's end; what is no product has neither GFLOP nor a rate. */
static void print_cost(Cost c, const ProfileScale *s, const char *shape, FILE *stream)
{
    fprintf(stream, "%10.3f %6.1f %%", 1e3 * c.seconds, 100 * ratio(c.seconds, s->seconds));
    if (c.gflop > 0)
        fprintf(stream, "%9.3f%9.1f%7.1f %%", c.gflop, rate(c), 100 * ratio(rate(c), s->peak));
    else if (*shape)
        fprintf(stream, "%27s", "");
    fprintf(stream, "%s%s\n", *shape ? "  " : "", shape);
}

static void print_operations(const Profile *p, const ProfileScale *s, Widths w, FILE *stream)
{
    Cost sum = {0};
    fprintf(stream, "\n  line  %-*s  %-*s%s  shape\n", w.name, "operation", w.kernel, "implementation",
            figures_head);
    for (int i = 0; i < p->rows; i++) {
        const AmdimOp *op = p->row[i].op;
        Cost c = cost_of(p, &p->row[i], s);
        char line[16] = "";
        if (op->line > 0)
            snprintf(line, sizeof line, "%d", op->line);
        fprintf(stream, "%6s  %-*s  %-*s", line, w.name, op->name, w.kernel, op->kernel);
        print_cost(c, s, op->shape, stream);
        sum.seconds += c.seconds;
        sum.gflop += c.gflop;
    }
    fprintf(stream, "%6s  %-*s  %-*s", "", w.name, "sum", w.kernel, "");
    print_cost(sum, s, "", stream);
}

/* Operations of one kind, by one implementation. */
typedef struct {
    const AmdimOp *op; /* the first of them */
    int operations;
    Cost cost;
} Group;

static int length_of_kind(const AmdimOp *op)
{
    return (int)strcspn(op->shape, " ,");
}

static bool belongs(const Group *g, const AmdimOp *op)
{
    int length = length_of_kind(op);
    return length == length_of_kind(g->op) && strncmp(op->shape, g->op->shape, (size_t)length) == 0 &&
           strcmp(op->kernel, g->op->kernel) == 0;
}

static int dearer_first(const void *left, const void *right)
{
    const Group *a = left, *b = right;
    return (a->cost.seconds < b->cost.seconds) - (a->cost.seconds > b->cost.seconds);
}

/* Into group (rows); returns how many there are. */
static int make_groups(const Profile *p, const ProfileScale *s, Group *group)
{
    int groups = 0;
    for (int i = 0; i < p->rows; i++) {
        Cost c = cost_of(p, &p->row[i], s);
        int g = 0;
        while (g < groups && !belongs(&group[g], p->row[i].op))
            g++;
        if (g == groups)
            group[groups++] = (Group){.op = p->row[i].op};
        group[g].operations++;
        group[g].cost.seconds += c.seconds;
        group[g].cost.gflop += c.gflop;
    }
    qsort(group, (size_t)groups, sizeof *group, dearer_first);
    return groups;
}

static void print_groups(const Profile *p, const ProfileScale *s, Widths w, FILE *stream)
{
    Group *group = malloc((size_t)p->rows * sizeof *group);
    if (group == NULL)
        return; /* the operations stand there without their sums */
    int groups = make_groups(p, s, group);
    fprintf(stream, "\n count  %-*s  %-*s%s\n", w.name, "kind", w.kernel, "implementation", figures_head);
    for (int i = 0; i < groups; i++) {
        const Group *g = &group[i];
        fprintf(stream, "%6d  %-*.*s  %-*s", g->operations, w.name, length_of_kind(g->op), g->op->shape,
                w.kernel, g->op->kernel);
        print_cost(g->cost, s, "", stream);
    }
    free(group);
}

void profile_print(const Profile *p, const ProfileScale *s, FILE *stream)
{
    Widths w = widths_of(p);
    print_operations(p, s, w, stream);
    print_groups(p, s, w, stream);
}
