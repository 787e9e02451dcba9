/* reporting.c: see reporting.h. */
#include "reporting.h"
#include "commands.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SEED = 7, THREADS = 2, LIMIT = 2 };

void reporting_begin(Reporting *r, const AmdimModel *m, const char *data_dir)
{
    Fault f;
    *r = (Reporting){.model = *m};
    r->data = data_open(data_dir, SPLIT_PRETRAIN, data_dir ? 0 : LIMIT, &f);
    if (!r->data || !machine_new(&r->machine, &r->model, THREADS, &f))
        fail_msg("%s", f.text);
    weights_init(&r->model, SEED, r->machine.params);
    r->state = (ReportState){.phase = REPORT_FINISHED,
                             .seed = SEED,
                             .step = 12,
                             .total = 40,
                             .epoch = 3,
                             .data = r->data,
                             .data_dir = data_dir,
                             .machine = &r->machine};
}

void reporting_end(Reporting *r)
{
    data_close(r->data);
    machine_free(&r->machine);
}

char *reporting_page(Reporting *r)
{
    Fault f;
    size_t count;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    r->state.run = folder;
    if (!report_write(&r->model, &r->state, &f))
        fail_msg("%s", f.text);
    return read_whole(scratch_path("report.html"), &count);
}

int count_of(const char *text, const char *words)
{
    int found = 0;
    for (; (text = strstr(text, words)); text++)
        found++;
    return found;
}
