/* queue: a bounded first-in-first-out queue of pointers between threads.
 *
 * A full queue makes its producers wait, so whoever is faster never runs ahead by more than `capacity`. What a producer
 * wrote before its push is visible to the thread that pops: the lock orders it.
 *
 * Threads: push, pop and leave from any thread; create and destroy before and after all others. */
#ifndef INGEST_QUEUE_H
#define INGEST_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue;

/* For so many producers. NULL: no memory. */
struct queue *queue_create(size_t capacity, unsigned producers);
void queue_destroy(struct queue *queue); /* NULL is fine */

void queue_push(struct queue *queue, void *item);
/* Waits for an item; NULL: the queue is empty and all producers have left. */
void *queue_pop(struct queue *queue);
/* One producer will push no more. */
void queue_leave(struct queue *queue);

#endif
