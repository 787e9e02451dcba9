/* cases.c: see cases.h. */
#include "cases.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRAIN "PROGRAM train --data DATA/folders --out run --epochs 2 --seed 1"
#define HALF  "PROGRAM train --data DATA/folders --out run --epochs 1 --seed 1"
/* Outputs that are there already: old ones must be whole or replaced. */
#define OLD "echo old > out; "

const Case cases[] = {
    {"train", "true", TRAIN, TRAIN " --resume", false, false},
    {"resume", HALF, TRAIN " --resume", TRAIN " --resume", false, false},
    {"resume a finished run", TRAIN, TRAIN " --resume", TRAIN " --resume", false, false},
    {"probe while training", "true",
     "PROGRAM train --data DATA/folders --out run --epochs 2 --seed 1 --probe-every 1",
     "PROGRAM train --data DATA/folders --out run --epochs 2 --seed 1 --probe-every 1 --resume", false,
     false},
    {"probe", HALF, "PROGRAM probe --data DATA/idx --weights run/last.safetensors --json", NULL, true, false},
    {"probe, k nearest", HALF, "PROGRAM probe --data DATA/folders --weights run/last.safetensors --head knn",
     NULL, true, false},
    {"probe, mlp", HALF, "PROGRAM probe --data DATA/folders --weights run/last.safetensors --head mlp", NULL,
     true, false},
    {"encode", OLD HALF, "PROGRAM encode --data DATA/idx --weights run/last.safetensors -o out", NULL, true,
     false},
    {"replay", OLD HALF,
     "PROGRAM replay --weights run/last.safetensors --batch DATA/batch.safetensors -o out", NULL, true,
     false},
    {"begin from weights", HALF " && mv run old",
     "PROGRAM train --data DATA/folders --out run --epochs 2 --weights old/last.safetensors "
     "--checkpoint-every 1",
     "PROGRAM train --data DATA/folders --out run --epochs 2 --weights old/last.safetensors "
     "--checkpoint-every 1 --resume",
     false, false},
    {"check pictures", "true", "PROGRAM check --data DATA/folders", NULL, true, false},
    {"check packed pictures", "true", "PROGRAM check --data DATA/idx", NULL, true, false},
    {"views", OLD "true", "PROGRAM views --data DATA/folders --count 3 -o out", NULL, true, false},
    {"bench", "true", "PROGRAM bench --steps 2 --json", NULL, false, false},
    {"info", "true", "PROGRAM info --json", NULL, true, false},
    {"selfcheck", "true", "PROGRAM selfcheck", NULL, false, false},
    {"check a spec", "cp DATA/torture.yaml .", "COMPILER --check torture.yaml", NULL, true, false},
    {"explain", "cp DATA/torture.yaml .", "COMPILER --explain torture.yaml", NULL, true, false},
    {"explain as JSON", "cp DATA/torture.yaml .", "COMPILER --explain=json torture.yaml", NULL, true, false},
    {"emit ir", "cp DATA/torture.yaml .", "COMPILER --emit=ir torture.yaml", NULL, true, false},
    {"emit pytorch", OLD "cp DATA/torture.yaml .", "COMPILER --emit=pytorch torture.yaml -o out", NULL, true,
     false},
    {"emit c", "cp DATA/torture.yaml .", "COMPILER --emit=c torture.yaml -o folder", NULL, true, false},
    {"emit c again",
     "cp DATA/torture.yaml . && COMPILER --emit=c torture.yaml -o folder && echo old > folder/torture.c",
     "COMPILER --emit=c torture.yaml -o folder", NULL, true, false},
    {"compile", OLD "cp DATA/torture.yaml .", "COMPILER torture.yaml -o out --gen-dir c --cc DATA/cc", NULL,
     true, false},
    {"sweep", "cp DATA/torture.yaml .",
     "COMPILER sweep torture.yaml --pairs 1-to-6 --data DATA/folders --out sweep --epochs 1 --cc DATA/cc",
     NULL, false, true},
    {"sweep of keys", "cp DATA/torture.yaml .",
     "COMPILER sweep torture.yaml --set optimizer.adam.lr=1e-3,1e-2 --jobs 2 --data DATA/folders --out sweep "
     "--epochs 1 --cc DATA/cc",
     NULL, false, true},
};
const int case_count = sizeof cases / sizeof *cases;

#define FULL "No space left on device"
const Failure failures[] = {
    {FAMILY_MEMORY, WAY_ONCE, ENOMEM, NULL},
    {FAMILY_MEMORY, WAY_FROM, ENOMEM, NULL},
    {FAMILY_OPEN, WAY_ONCE, EACCES, NULL},
    {FAMILY_OPEN, WAY_ONCE, EMFILE, NULL},
    {FAMILY_OPEN, WAY_FROM, EMFILE, NULL},
    {FAMILY_READ, WAY_ONCE, EIO, NULL},
    {FAMILY_READ, WAY_FROM, EIO, NULL},
    {FAMILY_READ, WAY_ONCE, EINTR, NULL},
    {FAMILY_READ, WAY_SHORT, 0, NULL},
    {FAMILY_WRITE, WAY_ONCE, ENOSPC, FULL},
    {FAMILY_WRITE, WAY_FROM, ENOSPC, FULL},
    {FAMILY_WRITE, WAY_ONCE, EDQUOT, "Disk quota exceeded"},
    {FAMILY_WRITE, WAY_FROM, EFBIG, "File too large"},
    {FAMILY_WRITE, WAY_ONCE, EINTR, NULL},
    {FAMILY_WRITE, WAY_SHORT, 0, NULL},
    {FAMILY_STREAM, WAY_ONCE, ENOSPC, NULL},
    {FAMILY_STREAM, WAY_FROM, ENOSPC, NULL},
    {FAMILY_SYNC, WAY_ONCE, EIO, "Input/output error"},
    {FAMILY_SYNC, WAY_FROM, ENOSPC, FULL},
    {FAMILY_RENAME, WAY_ONCE, EACCES, "Permission denied"},
    {FAMILY_RENAME, WAY_ONCE, ENOSPC, FULL},
    {FAMILY_RENAME, WAY_FROM, EROFS, "Read-only file system"},
    {FAMILY_CLOSE, WAY_ONCE, EIO, NULL},
    {FAMILY_CLOSE, WAY_FROM, ENOSPC, NULL},
    {FAMILY_STATUS, WAY_ONCE, EACCES, NULL},
    {FAMILY_STATUS, WAY_ONCE, EIO, NULL},
    {FAMILY_STATUS, WAY_FROM, EACCES, NULL},
    {FAMILY_MAP, WAY_ONCE, ENOMEM, NULL},
    {FAMILY_TRUNCATE, WAY_ONCE, ENOSPC, NULL},
    {FAMILY_LIST, WAY_ONCE, EACCES, NULL},
    {FAMILY_LIST, WAY_ONCE, EMFILE, NULL},
    {FAMILY_THREAD, WAY_ONCE, EAGAIN, NULL},
    {FAMILY_THREAD, WAY_FROM, EAGAIN, NULL},
    {FAMILY_PROCESS, WAY_ONCE, EAGAIN, NULL},
    {FAMILY_PROCESS, WAY_FROM, EAGAIN, NULL},
};
const int failure_count = sizeof failures / sizeof *failures;

void expand(char *out, size_t room, const char *text)
{
    const struct {
        const char *word, *value;
    } words[] = {{"PROGRAM", setting.program}, {"COMPILER", setting.compiler}, {"DATA", setting.folder}};
    size_t length = 0;
    while (*text && length + 1 < room) {
        size_t word = 0;
        while (word < 3 && strncmp(text, words[word].word, strlen(words[word].word)) != 0)
            word++;
        if (word < 3) {
            length += (size_t)snprintf(out + length, room - length, "%s", words[word].value);
            text += strlen(words[word].word);
        } else
            out[length++] = *text++;
    }
    out[length < room ? length : room - 1] = '\0';
}
