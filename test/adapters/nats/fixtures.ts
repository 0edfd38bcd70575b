/** Links of tests: closed by the test's teardown, before its server is. */
import type { ExecutionContext } from 'ava'
import {
  connectNats,
  type LinkStatus,
  type NatsLink,
  type NatsOptions,
} from '../../../lib/adapters/nats/connection.js'
import type { StreamError } from '../../../lib/errors.js'
import { right } from '../../contract/event-log.js'

export interface WatchedLink {
  readonly link: NatsLink
  readonly statuses: LinkStatus['type'][]
  /** Resolves at the next status of a type, counted from the call. */
  next(type: LinkStatus['type']): Promise<void>
  /** Resolves with what `onClosed` was told. */
  readonly closed: Promise<StreamError | undefined>
}

export const connected = async (
  t: ExecutionContext,
  url: string,
  options: Partial<NatsOptions> = {},
): Promise<WatchedLink> => {
  const statuses: LinkStatus['type'][] = []
  let tellClosed: (error: StreamError | undefined) => void = () => undefined
  const closed = new Promise<StreamError | undefined>(resolve => {
    tellClosed = resolve
  })
  const link = await right(connectNats({ url, name: t.title, ...options, onClosed: tellClosed }))
  link.listen(status => statuses.push(status.type))
  t.teardown(() => link.close()())
  const next = (type: LinkStatus['type']): Promise<void> =>
    new Promise(resolve => {
      const stop = link.listen(status => {
        if (status.type !== type) return
        stop()
        resolve()
      })
    })
  return { link, statuses, next, closed }
}
