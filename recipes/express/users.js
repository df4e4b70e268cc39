// Who a user is, and what became of users. The API key needs the scopes `users`, `phone` and `events`.

const { WXSESSION, API_KEY_NAME, API_KEY } = process.env

const headers = { Authorization: `Basic ${Buffer.from(`${API_KEY_NAME}:${API_KEY}`).toString('base64')}` }

async function ask(path) {
  const response = await fetch(WXSESSION + path, { headers, signal: AbortSignal.timeout(5000) })
  if (response.status === 404) return undefined
  if (!response.ok) throw new Error(`wxsession answers ${response.status} to ${path}`)
  return response.json()
}

// Who was merged is found as the user that they became, since fetch follows the 308: `id` is that user's.
export const findUser = (id) => ask(`/users/${id}`)

// Keep `next`, and continue after it: then nothing is missed and nothing comes twice.
export const readEvents = (after) => ask(after ? `/events?after=${after}` : '/events')
