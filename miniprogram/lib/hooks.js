const { attempt, notify } = require('./core')

// The codes with which something fails because nobody is logged in, and no silent login helps.
const OVER = 'session_expired session_ended session_superseded invalid_token'
const UNAUTHORIZED = `${OVER} logged_out credentials_required user_blocked`.split(' ')

/** A function that does what the user waits for, and tells the application's hooks of it. */
function createHooks({ onLoading, onUnauthorized }) {
  let underWay = 0
  let isTold = false // onUnauthorized was called, and nothing has succeeded since

  function count(change) {
    const wasIdle = !underWay
    underWay += change
    if (wasIdle !== !underWay) notify(onLoading, wasIdle)
  }

  /** A promise of what `work` returns or throws; `work` is called synchronously. */
  return function enter(work, isShown = true) {
    const change = isShown ? 1 : 0
    count(change)
    return attempt(work).then(result => {
      count(-change)
      isTold = false
      return result
    }, error => {
      count(-change)
      if (UNAUTHORIZED.indexOf(error.code) >= 0 && !isTold) {
        isTold = true
        notify(onUnauthorized, error)
      }
      throw error
    })
  }
}

module.exports = { createHooks }
