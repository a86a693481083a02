/* steady: makes the steady clock (base/clock.h) one and the same for every control of one boot of the
 * machine, whatever becomes of the wall clock: the file "clock" in the state directory keeps it. */
#pragma once

/* Takes the clock up as the file has it for this boot; else begins it, and writes that down. Where it cannot
 * be kept a warning says so, and it is steady for as long as this process lives. */
void steady_open(const char *directory);
