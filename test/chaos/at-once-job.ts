/** The flights example with an output that waits for no checkpoint. */

import { delays, flights } from '../../examples/flights/job.js'
import { jetstream, job } from '../../lib/index.js'

export default job('flights')
  .from(flights)
  .keyBy(flight => flight.origin)
  .to(delays, { parallelism: 2 })
  .into(
    jetstream.sink({
      id: 'delays-out',
      subject: 'delays',
      stream: 'DELAYS',
      delivery: 'idempotent',
    }),
    // One channel each: the counts of an airport come out of the process that counts them.
    { parallelism: 2 },
  )
  .checkpoint({ intervalMs: 500 })
