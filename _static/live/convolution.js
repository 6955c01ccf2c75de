// The figure "convolution": a kernel slides over an image. The arithmetic is that of imggen_lib.convolution, and the tests compare both.
"use strict";

(() => {
  // An image is {width, height, data}: one number per pixel, row by row. A kernel has the same form.

  function outputSize(size, kernelSize, { stride, padding, dilation }) {
    const covered = dilation * (kernelSize - 1) + 1;
    if (padding === "same") return Math.ceil(size / stride);
    return Math.max(Math.floor((size - covered) / stride) + 1, 0);
  }

  // The number of zeros before the image. "same" fixes the size of the result first; an odd zero is put after the image.
  function zerosBefore(size, kernelSize, options) {
    const needed = (outputSize(size, kernelSize, options) - 1) * options.stride + options.dilation * (kernelSize - 1) + 1;
    return options.padding === "same" ? Math.floor(Math.max(needed - size, 0) / 2) : 0;
  }

  function crossCorrelate(image, kernel, options) {
    const { stride, dilation } = options;
    const width = outputSize(image.width, kernel.width, options);
    const height = outputSize(image.height, kernel.height, options);
    const left = zerosBefore(image.width, kernel.width, options);
    const top = zerosBefore(image.height, kernel.height, options);
    const data = new Float32Array(width * height);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        let sum = 0;
        for (let p = 0; p < kernel.height; p++) {
          const row = i * stride + p * dilation - top;
          if (row < 0 || row >= image.height) continue;
          for (let q = 0; q < kernel.width; q++) {
            const column = j * stride + q * dilation - left;
            if (column < 0 || column >= image.width) continue;
            sum += image.data[row * image.width + column] * kernel.data[p * kernel.width + q];
          }
        }
        data[i * width + j] = sum;
      }
    }
    return { width, height, data };
  }

  (imggenLive.core ??= {}).convolution = { outputSize, zerosBefore, crossCorrelate };
})();
