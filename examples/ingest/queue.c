#include "queue.h"

#include <pthread.h>
#include <stdlib.h>

struct queue {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t has_room, has_item;
    size_t capacity, first, count;
    unsigned producers;
    void *items[];
};

struct queue *queue_create(size_t capacity, unsigned producers)
{
    struct queue *queue = malloc(sizeof *queue + capacity * sizeof queue->items[0]);
    if (!queue) return NULL;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->has_room, NULL);
    pthread_cond_init(&queue->has_item, NULL);
    queue->capacity = capacity;
    queue->first = queue->count = 0;
    queue->producers = producers;
    return queue;
}

void queue_destroy(struct queue *queue)
{
    if (!queue) return;
    pthread_cond_destroy(&queue->has_item);
    pthread_cond_destroy(&queue->has_room);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void queue_push(struct queue *queue, void *item)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == queue->capacity) pthread_cond_wait(&queue->has_room, &queue->lock);
    queue->items[(queue->first + queue->count++) % queue->capacity] = item;
    pthread_cond_signal(&queue->has_item);
    pthread_mutex_unlock(&queue->lock);
}

void *queue_pop(struct queue *queue)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && queue->producers > 0) pthread_cond_wait(&queue->has_item, &queue->lock);
    if (queue->count > 0) {
        item = queue->items[queue->first];
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        pthread_cond_signal(&queue->has_room);
    }
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void queue_leave(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->producers--;
    pthread_cond_broadcast(&queue->has_item); /* all that wait look again */
    pthread_mutex_unlock(&queue->lock);
}
