/** The job `counts`, with its state where the test says. */
import type { StateBackendOptions } from 'sluice'
import counts from './counts.js'
import { setting } from './setting.js'

const backend: StateBackendOptions = JSON.parse(setting('BACKEND', '{"type":"redis"}'))

export default counts.stateBackend(backend)
