/* The peers as the referee sees them: processes that take a turn when told to. */
#ifndef BENCH_PLAYERS_H
#define BENCH_PLAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PLAYERS_MAX 40u
#define FIGURES_MAX 16u /* of one turn */

typedef struct peer {
    const char *file, *title, *package; /* Debian's, where it is needed to build the peer */
    bool built;
} peer;

extern const peer peers[]; /* the limit loop first */
extern const size_t peer_count;

typedef struct seat { /* a peer's process in one case */
    const peer *peer;
    pid_t process;
    int commands, answers;
} seat;

/* Where the programs are: the directory of `program`, and `peers` below it. */
void players_find(const char *program);

/* Starts the peer for a case. False if it does not take part; why is said once a run, if it is worth saying. */
bool player_start(seat *at, const peer *who, const char *play, unsigned threads, const char *kind, size_t batch);
/* One turn: the number of figures. 0: the process has gone, which is said. */
size_t player_turn(seat *at, double figures[FIGURES_MAX]);
void player_stop(seat *at);

#endif
