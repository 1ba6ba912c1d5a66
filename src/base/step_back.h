/* The threads of a process that others go before. */
#ifndef THURN_BASE_STEP_BACK_H
#define THURN_BASE_STEP_BACK_H

/*
 * For work that nobody waits for in that moment: the calling thread, and those that it starts, get
 * a smaller share of the processors, `nice` steps (0 to 19) below what they have. And whoever wakes
 * up runs at once in their place: a low priority alone lets them use up their time slice first
 * (since Linux 6.6), which is several milliseconds. If the kernel refuses, all stays as it is.
 */
void thread_step_back(int nice);

#endif
