'use strict'

// Moments in the zone of the browser; without this they are in UTC.
const MOMENT = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: 'medium', timeStyle: 'medium'
})

function localise (root) {
  for (const time of root.querySelectorAll('time[datetime]:not([title])')) {
    time.title = time.textContent
    time.textContent = MOMENT.format(new Date(time.dateTime))
  }
}

// Passkeys: the form has the options of the server, and gets the response of the authenticator.
const bytes = text => Uint8Array.from(
  atob(text.replace(/-/g, '+').replace(/_/g, '/')), character => character.charCodeAt(0)
)
const text = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
const opened = options => ({
  ...options,
  challenge: bytes(options.challenge),
  ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
  ...(options.allowCredentials && { allowCredentials: options.allowCredentials.map(idOf) }),
  ...(options.excludeCredentials && { excludeCredentials: options.excludeCredentials.map(idOf) })
})
const idOf = credential => ({ ...credential, id: bytes(credential.id) })

async function ask (form) {
  const publicKey = opened(JSON.parse(form.dataset.options))
  const credential = await navigator.credentials[form.dataset.passkey]({ publicKey })
  const response = {}
  for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
    if (credential.response[name]) response[name] = text(credential.response[name])
  }
  form.querySelector('[data-response]').value = JSON.stringify({
    id: credential.id, rawId: text(credential.rawId), type: credential.type, response
  })
}

function offerPasskey (form) {
  form.hidden = false
  form.addEventListener('submit', event => {
    event.preventDefault()
    ask(form).then(() => form.submit(), () => { form.querySelector('[data-failed]').hidden = false })
  })
}

// A passkey is of a host name: a browser refuses one for an address.
if (window.PublicKeyCredential && !/^[\d.]+$|:/.test(location.hostname)) {
  document.querySelectorAll('form[data-passkey]').forEach(offerPasskey)
}

localise(document)
document.addEventListener('htmx:load', event => localise(event.target))

// Moments that are typed are in the zone of the browser: the form says how far that is from UTC.
for (const form of document.querySelectorAll('form[data-zoned]')) {
  form.elements.zone.value = new Date().getTimezoneOffset()
}
