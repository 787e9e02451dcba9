/* unit.h: numbers of views stay in 0..1 (portable.h). */
#ifndef UNIT_H
#define UNIT_H

static inline float clamp_unit(float value)
{
    float above = value > 0 ? value : 0;
    return above < 1 ? above : 1;
}

#endif
