/**
 * Asks a job's coordinator for a checkpoint, and waits for what becomes of it.
 *
 * The bus may lose both ways, so the request is repeated under one name until the answer is final.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { ControlBus } from '../lib/ports/control-bus.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import { answerSubject, coordinatorSubject } from '../lib/protocol/addresses.js'
import {
  CheckpointAnswer,
  decodeMessage,
  encodeMessage,
  type RequestOutcome,
} from '../lib/protocol/messages.js'

/** A checkpoint that was asked for. */
export type RequestedCheckpoint = Extract<RequestOutcome, { type: 'completed' }>

/** What is asked for, and for how long. */
export interface CheckpointWish {
  readonly bus: ControlBus
  readonly scheduler: Scheduler
  readonly job: string
  /** A name that no other request has. */
  readonly request: string
  readonly timeoutMs: number
}

const repeatMs = 500
/** A coordinator that has not answered for so long does not run, or does not hear. */
const silenceMs = 10_000

/**
 * Resolves with the checkpoint, or with why there is none: `conflict` when it was refused or aborted,
 * `unavailable` when nobody answers, `timed-out` when it is still under way.
 */
export const requestCheckpoint = (
  wish: CheckpointWish,
): Promise<E.Either<StreamError, RequestedCheckpoint>> => {
  const { bus, scheduler, job, request, timeoutMs } = wish
  const message = encodeMessage({ version: 1, type: 'checkpoint-request', request })
  const askedAt = scheduler.now()
  return new Promise(resolve => {
    let heard: { readonly outcome: RequestOutcome; readonly at: number } | undefined
    let cancelRepeat = (): void => {}
    const settle = (result: E.Either<StreamError, RequestedCheckpoint>): void => {
      cancelRepeat()
      unsubscribe()
      resolve(result)
    }
    const unsubscribe = bus.subscribe(answerSubject(job, request), payload => {
      const answer = decodeMessage(CheckpointAnswer, payload)
      if (E.isLeft(answer)) return settle(answer)
      const { outcome } = answer.right
      heard = { outcome, at: scheduler.now() }
      const result = resultOf(job, outcome)
      if (result !== undefined) settle(result)
    })
    const ask = (): void => {
      const now = scheduler.now()
      if (now - (heard?.at ?? askedAt) >= silenceMs) settle(E.left(unanswered(job)))
      else if (now - askedAt >= timeoutMs)
        settle(E.left(unfinished(job, timeoutMs, heard?.outcome)))
      else {
        bus.send(coordinatorSubject(job), message)
        cancelRepeat = scheduler.after(repeatMs, ask)
      }
    }
    ask()
  })
}

const resultOf = (
  job: string,
  outcome: RequestOutcome,
): E.Either<StreamError, RequestedCheckpoint> | undefined => {
  switch (outcome.type) {
    case 'queued':
    case 'pending':
      return undefined
    case 'completed':
      return E.right(outcome)
    case 'aborted': {
      const which = outcome.epoch === undefined ? 'the checkpoint' : `checkpoint ${outcome.epoch}`
      return E.left(
        streamError('conflict', `${which} of job '${job}' was aborted: ${outcome.reason}`),
      )
    }
    case 'refused':
      return E.left(
        streamError('conflict', `job '${job}' takes no checkpoint now: ${outcome.reason}`),
      )
  }
}

const unanswered = (job: string): StreamError =>
  streamError(
    'unavailable',
    `the coordinator of job '${job}' has not answered for ${silenceMs} ms`,
    {
      next: "See with 'sluice status' whether it runs; check --nats.",
    },
  )

const unfinished = (
  job: string,
  timeoutMs: number,
  outcome: RequestOutcome | undefined,
): StreamError => {
  const where =
    outcome?.type === 'pending'
      ? `checkpoint ${outcome.epoch} of job '${job}' is still under way`
      : `the checkpoint of job '${job}' still waits for those before it`
  return streamError('timed-out', `${where} after ${timeoutMs} ms`, {
    next: 'It goes on without you; wait longer with --timeout-ms.',
  })
}
