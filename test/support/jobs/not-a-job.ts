/** Exports something, but no job. */
export default { name: 'counts' }
