// What openapi-typescript makes of the page: what may be left out may be left out, in both ways.
import type { components, operations, paths } from './wxsession'

type Schemas = components['schemas']

export const byCode: Schemas['LoginBody'] = { code: '081xYz' }
export const logout: Schemas['LogoutBody'] = {}
export const query: operations['find_users']['parameters']['query'] = { openid: 'o5pkht', limit: 2 }
// @ts-expect-error a misspelt filter
export const misspelt: operations['find_users']['parameters']['query'] = { openID: 'o5pkht' }
// @ts-expect-error a registration needs a password
export const half: Schemas['RegisterBody'] = { username: 'alice' }

type User = paths['/users/{user_id}']['get']['responses'][200]['content']['application/json']

export function parcel (user: User): string {
  return user.phone_number === null ? user.id : `+${user.country_code} ${user.phone_number}`
}

export function renewal (grant: Schemas['GrantReply'], problem: Schemas['Problem']): string {
  return problem.reason ?? `${grant.session_token} ${grant.expires_in}`
}
