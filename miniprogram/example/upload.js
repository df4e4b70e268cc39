// YOURS TO REPLACE: where pictures are kept. wxsession stores the address of a picture, and no
// pictures. Who may upload is for your place to check: by a ticket, say, that your own server gave
// to `wxs.request` before, sent along as `formData`.
const UPLOAD_URL = 'https://upload.example.com/avatars'

// Sends a file on the phone to that place, as the form field `file`, and promises the address in
// its answer, {"url": "https://…"}.
function uploadPicture(filePath) {
  return new Promise((resolve, reject) => {
    const fail = cause => reject({ code: 'upload_failed', cause })
    wx.uploadFile({
      url: UPLOAD_URL,
      filePath,
      name: 'file',
      success: ({ statusCode, data }) => {
        const url = statusCode === 200 && urlIn(data)
        if (url) resolve(url)
        else fail(`HTTP ${statusCode}`)
      },
      fail,
    })
  })
}

// The body is text here, whatever its type.
function urlIn(text) {
  try {
    return JSON.parse(text).url
  } catch (error) {
    return undefined
  }
}

module.exports = { uploadPicture }
