/* optimize.c: the optimisers' arithmetic (portable.h). */
#include "portable.h"
#include <math.h>

AdamStep adam_step(AdamRule rule, double lr, uint64_t step)
{
    const double steps = (double)step + 1;
    return (AdamStep){
        .rate = (float)(lr / (1 - pow(rule.beta1, steps))),
        .decay = rule.decoupled ? 0 : (float)rule.weight_decay,
        .beta2 = (float)rule.beta2,
        .new1 = (float)(1 - rule.beta1),
        .new2 = (float)(1 - rule.beta2),
        .eps = fmaxf((float)rule.eps, 0x1p-126f), /* or 0 / 0, where a gradient has always been 0 */
        .root_correction = (float)(1 / sqrt(1 - pow(rule.beta2, steps))),
        .keep = rule.decoupled ? (float)(1 - lr * rule.weight_decay) : 1,
    };
}

void sgd_momentum(size_t count, float *restrict params, const float *restrict gradient,
                  float *restrict moment, float rate, float momentum, float decay)
{
    for (size_t i = 0; i < count; i++) {
        moment[i] = momentum * moment[i] + gradient[i] + decay * params[i];
        params[i] -= rate * moment[i];
    }
}

void sgd_plain(size_t count, float *restrict params, const float *restrict gradient, float rate, float decay)
{
    for (size_t i = 0; i < count; i++)
        params[i] -= rate * (gradient[i] + decay * params[i]);
}
