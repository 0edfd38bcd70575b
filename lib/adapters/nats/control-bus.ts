/**
 * The control bus on core NATS.
 *
 *   NB1. While the link is down nothing is kept: a message of before an outage must not arrive after
 *       it as if it were news. Protocols on the bus repeat their state.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type { ControlBus } from '../../ports/control-bus.js'
import { crash } from './callbacks.js'
import type { NatsLink } from './connection.js'
import { thrownError } from './errors.js'
import { checkPattern, checkSubject } from './subjects.js'

/** The control bus of a link. It ends with the link; subscriptions outlive its outages. */
export const natsControlBus = (link: NatsLink): ControlBus => ({
  send: (subject, payload) => {
    checkSubject(subject)
    if (link.state !== 'up' || link.connection.isClosed()) return
    try {
      link.connection.publish(subject, payload)
    } catch (thrown) {
      // Messages are made by the framework and are small: one that cannot be sent is a defect.
      crash(thrown)
    }
  },
  subscribe: (subject, handler) => {
    checkPattern(subject)
    if (link.connection.isClosed()) return () => undefined
    const subscription = link.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return
        try {
          handler(message.data, message.subject)
        } catch (thrown) {
          crash(thrown)
        }
      },
    })
    const stopListening = link.listen(status => {
      if (status.type === 'closing') subscription.unsubscribe()
    })
    return () => {
      stopListening()
      subscription.unsubscribe()
    }
  },
  flush: () => async () => {
    const doing = `reach the NATS server at ${link.address}`
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<E.Either<StreamError, void>>(resolve => {
      const error = streamError('timed-out', `Could not ${doing} within ${link.apiTimeoutMs} ms.`)
      timer = setTimeout(() => resolve(E.left(error)), link.apiTimeoutMs)
    })
    const flushed = link.connection.flush().then(
      () => E.right(undefined),
      (thrown: unknown) => E.left(thrownError(doing, thrown)),
    )
    const result = await Promise.race([flushed, late])
    clearTimeout(timer)
    return result
  },
})
