/** The address of a server, safe to show. */

const login = /^(\s*[a-z][a-z0-9+.-]*:\/\/)?(.*)@/is

/**
 * Addresses without what proves who one is: the password, or a user's name without one, which may
 * be a token. It needs no valid address, so that a misspelt one can be shown as well.
 */
export const masked = (addresses: string): string =>
  addresses
    .split(/,(?=\s*[a-z][a-z0-9+.-]*:\/\/)/i)
    .map(address =>
      address
        .replace(login, (_, scheme: string | undefined, who: string) => {
          const [user = ''] = who.split(':')
          return `${scheme ?? ''}${who.includes(':') ? `${user}:***` : '***'}@`
        })
        .replace(/([?&]password=)[^&#]*/gi, '$1***'),
    )
    .join(',')
