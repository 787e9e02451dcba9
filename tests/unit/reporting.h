/* reporting.h: report.html of the toy model, or of one like it, drawn into the scratch folder of samples.h.
 */
#ifndef REPORTING_H
#define REPORTING_H

#include "runtime.h"

/* A run between two steps. */
typedef struct {
    AmdimModel model;
    Machine machine;
    Dataset *data;
    ReportState state;
} Reporting;
/* Initial weights, and the training pictures of `data_dir` (NULL: twenty built-in ones); a failure fails the
 * test. */
void reporting_begin(Reporting *r, const AmdimModel *m, const char *data_dir);
void reporting_end(Reporting *r);
char *reporting_page(Reporting *r); /* the whole page, by malloc */

int count_of(const char *text, const char *words);

#endif
