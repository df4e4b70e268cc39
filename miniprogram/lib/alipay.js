/**
 * An adapter that calls Alipay's `my` as this package calls `wx`.
 *
 * It has no login: Alipay's codes mean nothing to a server that asks WeChat, so users log in with a
 * username and a password.
 */
function alipay(my) {
  return {
    getStorageSync: key => my.getStorageSync({ key }).data,
    // It throws nothing: it returns the error, on iOS without `success`.
    setStorageSync(key, data) {
      const { success, error, errorMessage } = my.setStorageSync({ key, data }) || {}
      if (error || success === false) throw new Error(`setStorageSync:fail ${errorMessage || error}`)
    },

    // As text: Alipay fails a response that is not JSON, and one without a body, as "not decoded".
    request: options => send('request', options, Object.assign({ dataType: 'text' }, options), result => {
      return options.dataType && options.dataType !== 'json' ? result.data : parsed(result.data)
    }),

    uploadFile: options => send('uploadFile', options, Object.assign({ fileName: options.name }, options)),

    downloadFile: options => send('downloadFile', options, options),

    // `multiple` is what makes it return a task of its own.
    connectSocket: options => my.connectSocket(Object.assign({ multiple: true }, options)),
  }

  function send(name, options, wanted, dataIn = ({ data }) => data) {
    const succeed = result => {
      const { status, statusCode = status, headers, header = headers, apFilePath } = result
      const answer = { statusCode: Number(statusCode || 200), header: header || {}, data: dataIn(result) }
      options.success(Object.assign(answer, { errMsg: `${name}:ok`, tempFilePath: apFilePath }))
    }
    const fail = (result = {}) => {
      // Any status but 2xx is a failure there: error 19, with the response beside it.
      if (Number(result.status || result.statusCode)) return succeed(result)
      const { error, errorMessage } = result
      options.fail({ errMsg: `${name}:fail ${errorMessage || error}`, errno: error })
    }
    return my[name](Object.assign({}, wanted, { headers: options.header, success: succeed, fail }))
  }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch (error) {
    return text
  }
}

module.exports = { alipay }
