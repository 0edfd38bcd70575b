/** The job `counts`, with its state where the test says. */
import { stateBackend } from './counting.js'
import counts from './counts.js'

export default counts.stateBackend(stateBackend)
